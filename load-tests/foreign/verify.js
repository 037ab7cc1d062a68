// Checks a channel-proof/1 file with ethers alone: both signatures over the batch's typed data, the
// Merkle path with its keccak-256, and the channel id from the parameters.
// Usage: node verify.js PROOF.json; prints one line of JSON, exits 1 when the proof proves nothing.
import { readFileSync } from 'node:fs'
import { TypedDataEncoder, concat, keccak256, verifyTypedData, ZeroHash } from 'ethers'

const proof = JSON.parse(readFileSync(process.argv[2], 'utf8'))
const { state_typed_data: state, batch_typed_data: batch, merkle, signatures } = proof

const typesOf = ({ types }) => {
  const { EIP712Domain, ...own } = types
  return own
}
const must = (condition, what) => {
  if (!condition) {
    console.error(what)
    process.exit(1)
  }
}

const over = { batch, state }
for (const side of ['hub', 'user']) {
  const { over: which, signer, signature } = signatures[side]
  const { domain, message } = over[which]
  const actual = verifyTypedData(domain, typesOf(over[which]), message, signature)
  must(actual.toLowerCase() === signer.toLowerCase(), `${side} signature is by ${actual}, not by ${signer}`)
}
must(signatures.hub.signer.toLowerCase() === proof.channel_params.hubSigner.toLowerCase(), 'not the hub of the channel')
must(signatures.user.signer.toLowerCase() === proof.channel_params.userSigner.toLowerCase(), 'not the user of the channel')

let node = TypedDataEncoder.from(typesOf(state)).hash(state.message)
must(merkle.siblings.length === Number(batch.message.depth), 'the path is not as long as the tree is deep')
merkle.siblings.forEach((sibling, level) => {
  node = keccak256(concat((merkle.leaf_index >> level) & 1 ? [sibling, node] : [node, sibling]))
})
must(node === batch.message.root && node !== ZeroHash, 'the path does not lead to the root')

const fields = 'address hub,address hubSigner,address user,address userSigner,bool custodial,uint96 capacity,uint32 challengePeriod,uint32 selfDelay,uint96 penaltyCap,uint16 bountyBps,bytes32 salt'
const params = { ChannelParams: fields.split(',').map((field) => { const [type, name] = field.split(' '); return { type, name } }) }
const id = TypedDataEncoder.hash(state.domain, params, proof.channel_params)
must(id === state.message.channelId, 'the parameters are another channel\'s')
console.log(JSON.stringify({ channel: id, user_balance: state.message.userBalance, version: state.message.version }))
