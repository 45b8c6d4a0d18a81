//! The one sealed form: `version (1) | nonce (12) | ciphertext | tag (16)`, AES-256-GCM.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand::{SecureRandom, SystemRandom},
};
use secrecy::zeroize::Zeroizing;

use super::VaultError;

/// The only version so far.
const V1: u8 = 1;

/// What sealing adds to a plaintext, in bytes.
pub(super) const OVERHEAD: usize = 1 + NONCE_LEN + 16;

/// Random bytes from the system.
pub(super) fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, VaultError> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut()).map_err(|_| VaultError::Seal)?;
    Ok(bytes)
}

/// An AES-256-GCM key made of these bytes.
pub(super) fn aead_key(bytes: &[u8; 32]) -> Result<LessSafeKey, VaultError> {
    UnboundKey::new(&AES_256_GCM, bytes).map(LessSafeKey::new).map_err(|_| VaultError::KeyText)
}

/// Seals under a fresh random nonce. `aad` is what the value is bound to.
pub(super) fn seal(key: &LessSafeKey, plaintext: &[u8], aad: &[u8]) -> Result<Vec<u8>, VaultError> {
    let nonce = *random::<NONCE_LEN>()?;
    // All room is taken beforehand, so that the plaintext is never left behind by a growing buffer.
    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.push(V1);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let tag = key
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(aad), &mut sealed[1 + NONCE_LEN..])
        .map_err(|_| VaultError::Seal)?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens what [`seal`] made with the same key and `aad`.
pub(super) fn open(key: &LessSafeKey, sealed: &[u8], aad: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (&version, rest) = sealed.split_first().ok_or(VaultError::Damaged)?;
    if version != V1 {
        return Err(VaultError::Version(version));
    }
    let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or(VaultError::Damaged)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| VaultError::Damaged)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    let length = key.open_in_place(nonce, Aad::from(aad), &mut buffer).map_err(|_| VaultError::Damaged)?.len();
    buffer.truncate(length);
    Ok(buffer)
}
