//! What somebody holds of a channel: the newest co-signed state, and what goes with it.
//!
//! A file is a `channel-proof/1`, as `acctl proof fetch` saves it, to which these members may be
//! added: `locks` (the list that `locksHash` names), `preimages` (32 bytes each), `meters`
//! (`{signer, terms, delivered, signature}` each), `cheques` (`{signer, terms, beneficiary, cumulative,
//! signature}` each), `credit` (`{cumulative, signature}`) and `revoke` (`{signer, version,
//! signature}`).
//!
//! Who holds no co-signed state yet, but deposits or a credit, closes with the null state. Its file
//! is a `channel-null/1`: `{format, channel_params, domain: {chainId, verifyingContract}, epoch}`,
//! with `credit` and `revoke` as above.

use super::trade::{self, ChequeEntry, MeterEntry};
use anyhow::{Context as _, anyhow, bail};
use chain::calls::claims::{SignedCheque, SignedMeter};
use chain::calls::dispute::SignedCredit;
use chain::{Attestation, CoSigned, Evidence};
use hub_core::dispute::answer::{GivenUp, Held, Proof};
use hub_core::lock::{self, Lock, LockKind};
use hub_core::proof::ChannelProof;
use hub_core::settlement::Closer;
use hub_core::signature::verify;
use hub_core::types::{Credit, Revoke};
use hub_core::{
    Address, Amount, ChannelId, ChannelParams, Domain, Epoch, Hash32, Signature, State, Version,
    sha256,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Largest file that is read: a proof has 4 kB, 32 locks and preimages another 15.
const MAX_BYTES: u64 = 1 << 20;

/// What may stand in a proof file beside the proof.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extras {
    /// The lock list of the state.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// Preimages of locks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub preimages: Vec<Hash32>,
    /// Meters of metered locks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub meters: Vec<MeterEntry>,
    /// Cheques on cover locks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cheques: Vec<ChequeEntry>,
    /// The hub's newest credit of the state's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credit: Option<CreditEntry>,
    /// The newest `Revoke` of a party, of the state's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<RevokeEntry>,
}

/// A credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreditEntry {
    /// All that was ever credited in the epoch, in minor units.
    pub cumulative: Amount,
    /// The hub signer's, over `Credit`.
    pub signature: Signature,
}

/// A revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeEntry {
    /// Who gave the version up: the hub signer or the user signer.
    pub signer: Address,
    /// The newest version given up.
    pub version: Version,
    /// Over `Revoke`.
    pub signature: Signature,
}

/// All that is held of one channel and epoch. Everything in it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Material {
    /// The channel's parameters.
    pub params: ChannelParams,
    /// Where it is enforceable.
    pub domain: Domain,
    /// The newest co-signed state.
    pub held: CoSigned,
    /// Whether it was the newest there was when the file was made.
    pub newest: bool,
    /// The lock list of the state; empty also when the file has none for a state with locks.
    pub locks: Vec<Lock>,
    /// Known preimages.
    pub preimages: Vec<Hash32>,
    /// The highest meter of each order.
    pub meters: Vec<SignedMeter>,
    /// The highest cheque of each book and beneficiary.
    pub cheques: Vec<SignedCheque>,
    /// Newest credit.
    pub credit: Option<SignedCredit>,
    /// Newest revocation by each signer.
    pub revokes: Vec<RevokeEntry>,
}

/// Value of `format` of a file without a co-signed state.
const NULL_FORMAT: &str = "channel-null/1";

/// The null state of a channel's epoch.
#[derive(Debug, Deserialize)]
struct NullFile {
    format: String,
    channel_params: ChannelParams,
    domain: Domain,
    epoch: Epoch,
}

impl NullFile {
    fn material(&self, text: &str) -> anyhow::Result<Material> {
        let (params, domain) = (self.channel_params, self.domain);
        let id = params.channel_id(&domain);
        let held = CoSigned::null(State::null(id, self.epoch, params.capacity));
        // Nobody can say that there is none above it: a party has to say so.
        Material::joined(params, domain, held, false, extras(text)?)
    }
}

fn extras(text: &str) -> anyhow::Result<Extras> {
    serde_json::from_str(text)
        .context("locks, preimages, meters, cheques, credit or revoke are not in their form")
}

/// Reads and checks a file.
///
/// # Errors
/// It is no proof, does not hold, or what was added does not belong to it.
pub fn read(path: &Path) -> anyhow::Result<Material> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("{shown} can't be read"))?;
    if size.len() > MAX_BYTES {
        bail!("{shown} has {} bytes: that is no proof", size.len());
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{shown} can't be read"))?;
    parse(&text).with_context(|| shown.to_string())
}

/// Checks the text of a file.
///
/// # Errors
/// As [`read`].
pub fn parse(text: &str) -> anyhow::Result<Material> {
    if let Ok(file) = serde_json::from_str::<NullFile>(text)
        && file.format == NULL_FORMAT
    {
        return file.material(text);
    }
    let proof: ChannelProof = crate::proof::parse(text)?;
    Material::new(&proof, extras(text)?)
}

impl Material {
    /// Checks a proof and what was added to it.
    ///
    /// # Errors
    /// The proof does not hold, or something added does not belong to it.
    pub fn new(proof: &ChannelProof, extras: Extras) -> anyhow::Result<Self> {
        proof.verify().map_err(|error| {
            anyhow!("the proof does not hold: {error}; fetch it again or use another copy of it")
        })?;
        let (params, domain) = (proof.channel_params, proof.domain());
        let held = CoSigned::from_proof(proof);
        Self::joined(params, domain, held, proof.newest, extras)
    }

    fn joined(
        params: ChannelParams,
        domain: Domain,
        held: CoSigned,
        newest: bool,
        extras: Extras,
    ) -> anyhow::Result<Self> {
        let state = held.state;
        if !extras.locks.is_empty() {
            lock::check_list(&state, &extras.locks)?;
        }
        for preimage in &extras.preimages {
            let hash = sha256(&preimage.0);
            let known = |lock: &Lock| lock.kind == LockKind::Hash && lock.condition == hash;
            if !extras.locks.iter().any(known) {
                bail!(
                    "preimage {preimage} releases none of the file's locks: its sha-256 is {hash}"
                );
            }
        }
        let credit = extras.credit.map(|entry| {
            let credit = Credit {
                channel_id: state.channel_id,
                epoch: state.epoch,
                cumulative: entry.cumulative,
            };
            verify(domain.digest(&credit), &entry.signature, params.hub_signer)
                .map(|()| SignedCredit {
                    cumulative: entry.cumulative,
                    signature: entry.signature,
                })
                .context("the credit is not the hub's for this channel and epoch")
        });
        let revoke = extras.revoke.map(|entry| {
            let revoke = Revoke {
                channel_id: state.channel_id,
                epoch: state.epoch,
                version: entry.version,
            };
            let party = [params.hub_signer, params.user_signer].contains(&entry.signer);
            if !party {
                bail!("the revocation is by {}, who is no party", entry.signer);
            }
            verify(domain.digest(&revoke), &entry.signature, entry.signer)
                .context("the revocation is not its signer's for this channel and epoch")?;
            Ok(entry)
        });
        let mut meters = trade::meters(&extras.meters, &extras.locks, domain)?;
        trade::highest_meters(&mut meters);
        let mut cheques = trade::cheques(&extras.cheques, &extras.locks, domain)?;
        trade::highest_cheques(&mut cheques);
        Ok(Self {
            params,
            domain,
            held,
            newest,
            meters,
            cheques,
            locks: extras.locks,
            preimages: extras.preimages,
            credit: credit.transpose()?,
            revokes: revoke.transpose()?.into_iter().collect(),
        })
    }

    /// The state.
    pub fn state(&self) -> &State {
        &self.held.state
    }

    /// The channel.
    pub fn channel_id(&self) -> ChannelId {
        self.held.state.channel_id
    }

    /// Adds what another file holds of the same channel: the newer state of the newer epoch, and
    /// all evidence of that epoch.
    ///
    /// # Errors
    /// It is another channel.
    pub fn join(self, other: Self) -> anyhow::Result<Self> {
        if self.channel_id() != other.channel_id() || self.domain != other.domain {
            bail!(
                "the files are of two channels, {} and {}: give one channel at a time",
                self.channel_id(),
                other.channel_id()
            );
        }
        let age = |one: &Self| (one.state().epoch, one.state().version);
        let (mut newer, older) = if age(&other) > age(&self) {
            (other, self)
        } else {
            (self, other)
        };
        if newer.state().epoch != older.state().epoch {
            return Ok(newer);
        }
        if newer.state() == older.state() && newer.locks.is_empty() {
            newer.locks = older.locks;
        }
        newer.newest |= older.newest && newer.held == older.held;
        newer.preimages.extend(older.preimages);
        newer.preimages.sort();
        newer.preimages.dedup();
        newer.meters.extend(older.meters);
        trade::highest_meters(&mut newer.meters);
        newer.cheques.extend(older.cheques);
        trade::highest_cheques(&mut newer.cheques);
        newer.credit = newer
            .credit
            .into_iter()
            .chain(older.credit)
            .max_by_key(|credit| credit.cumulative);
        newer.revokes.extend(older.revokes);
        newer
            .revokes
            .sort_by_key(|revoke| (revoke.signer, std::cmp::Reverse(revoke.version)));
        newer.revokes.dedup_by_key(|revoke| revoke.signer);
        Ok(newer)
    }

    /// What it says against a close.
    pub fn against(&self) -> Held {
        let given_up = |signer, attestation: &Attestation| GivenUp {
            base: match attestation {
                Attestation::Absent => 0,
                _ => self.state().ack_version,
            },
            revoked: self.revoked_by(signer).map(|revoke| revoke.version),
        };
        Held {
            state: *self.state(),
            credit: self.credit.map_or(Amount::ZERO, |credit| credit.cumulative),
            hub: given_up(self.params.hub_signer, &self.held.hub),
            user: given_up(self.params.user_signer, &self.held.user),
        }
    }

    /// What shows that a closer had given up what it posted.
    pub fn evidence(&self, closer: Closer, proof: Proof) -> Option<Evidence> {
        let (signer, attestation) = match closer {
            Closer::Exit => return None,
            Closer::Hub => (self.params.hub_signer, &self.held.hub),
            Closer::User => (self.params.user_signer, &self.held.user),
        };
        match proof {
            Proof::State => Some(Evidence::State {
                state: Box::new(*self.state()),
                attestation: attestation.clone(),
            }),
            Proof::Revoke => self.revoked_by(signer).map(|revoke| Evidence::Revoke {
                version: revoke.version,
                signature: revoke.signature,
            }),
        }
    }

    /// The newest version that a signer gave up.
    pub fn revoked_by(&self, signer: Address) -> Option<&RevokeEntry> {
        self.revokes.iter().find(|revoke| revoke.signer == signer)
    }

    /// The channel's hash locks whose receiver the user is, or is not, and of which the preimage
    /// is held: each with its preimage.
    pub fn releasable(&self, user_receives: bool) -> Vec<(Lock, Hash32)> {
        let locks = self.locks.iter();
        let ours =
            locks.filter(|lock| lock.kind == LockKind::Hash && lock.user_pays != user_receives);
        ours.filter_map(|lock| {
            let known = self.preimages.iter();
            let mut known = known.filter(|preimage| sha256(&preimage.0) == lock.condition);
            Some((*lock, *known.next()?))
        })
        .collect()
    }
}
