// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC1363} from "@openzeppelin/contracts/token/ERC20/extensions/ERC1363.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// The asset of the account system: 18 decimals, permit (ERC-2612), transferAndCall (ERC-1363), burn by the holder.
/// Minting is a role; a channel contract that serves hubs in mint mode holds it.
contract Token is ERC20, ERC20Burnable, ERC20Permit, ERC1363, AccessControl {
    /// May create tokens without limit: hubs' own limits are kept by the channel contract.
    bytes32 public constant MINTER_ROLE = keccak256("MINTER_ROLE");

    /// @param admin Grants and revokes roles; nothing else.
    constructor(string memory name_, string memory symbol_, address admin) ERC20(name_, symbol_) ERC20Permit(name_) {
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
    }

    /// Creates `amount` minor units for `to`.
    function mint(address to, uint256 amount) external onlyRole(MINTER_ROLE) {
        _mint(to, amount);
    }

    function supportsInterface(bytes4 interfaceId) public view override(AccessControl, ERC1363) returns (bool) {
        return super.supportsInterface(interfaceId);
    }
}
