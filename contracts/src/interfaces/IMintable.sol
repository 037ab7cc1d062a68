// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// What mint mode needs of the token beyond ERC-20.
interface IMintable {
    /// Creates `amount` for `to`; the channel contract must be allowed to.
    function mint(address to, uint256 amount) external;

    /// Destroys `amount` of the caller's own tokens.
    function burn(uint256 amount) external;
}
