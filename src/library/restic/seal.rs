//! How a repository's bytes are sealed: AES-256 in counter mode, then Poly1305-AES over what came of it
//! (restic's design document, "Keys, Encryption and MAC"). What was changed does not open.

use aes::cipher::{BlockCipherEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128Enc, Aes256};
use ctr::Ctr128BE;
use poly1305::Poly1305;
use spelunk_tree::{Error, Result};

const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// Bytes that sealing adds.
pub(super) const SEAL_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The two keys of a seal. There is no way to print them.
#[derive(Clone)]
pub(super) struct SealKey {
    encrypt: [u8; 32],
    /// `k` and `r` of Poly1305-AES.
    mac_k: [u8; 16],
    mac_r: [u8; 16],
}

impl SealKey {
    /// A key of its parts, which must have the right lengths.
    pub(super) fn new(encrypt: &[u8], mac_k: &[u8], mac_r: &[u8]) -> Option<SealKey> {
        Some(SealKey {
            encrypt: encrypt.try_into().ok()?,
            mac_k: mac_k.try_into().ok()?,
            mac_r: mac_r.try_into().ok()?,
        })
    }

    /// The bytes in a seal: nonce, encrypted bytes, tag.
    ///
    /// # Errors
    /// `Corrupt` when they are not what was sealed, or sealed by another key.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let too_short = || Error::corrupt("sealed bytes that are too few");
        let (nonce, rest) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(too_short)?;
        let (encrypted, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or_else(too_short)?;
        if !is_same(&self.tag(nonce, encrypted), tag) {
            return Err(Error::corrupt("bytes that do not fit their seal"));
        }
        let mut bytes = encrypted.to_vec();
        Ctr128BE::<Aes256>::new(&self.encrypt.into(), &(*nonce).into())
            .try_apply_keystream(&mut bytes)
            .map_err(|_| Error::limit("more bytes than one nonce is for"))?;
        Ok(bytes)
    }

    /// Poly1305-AES: the one-time key is `r`, and the nonce encrypted by `k`.
    fn tag(&self, nonce: &[u8; NONCE_BYTES], encrypted: &[u8]) -> [u8; TAG_BYTES] {
        let mut block = (*nonce).into();
        Aes128Enc::new(&self.mac_k.into()).encrypt_block(&mut block);
        let mut key = poly1305::Key::default();
        key[..16].copy_from_slice(&self.mac_r);
        key[16..].copy_from_slice(&block);
        Poly1305::new(&key).compute_unpadded(encrypted).into()
    }
}

/// Compares without telling by its time where the first difference is.
fn is_same(one: &[u8; TAG_BYTES], other: &[u8; TAG_BYTES]) -> bool {
    one.iter().zip(other).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first vector of Bernstein's "The Poly1305-AES message-authentication code", appendix B.
    #[test]
    fn tags_are_those_of_the_paper() {
        let key = SealKey {
            encrypt: [0; 32],
            mac_k: 0xec07_4c83_5580_7417_0142_5b62_3235_add6_u128.to_be_bytes(),
            mac_r: 0x851f_c40c_3467_ac0b_e05c_c204_04f3_f700_u128.to_be_bytes(),
        };
        let nonce = 0xfb44_7350_c4e8_68c5_2ac3_275c_f9d4_327e_u128.to_be_bytes();

        let tag = key.tag(&nonce, &[0xf3, 0xf6]);

        assert_eq!(tag, 0xf4c6_33c3_044f_c145_f84f_335c_b819_53de_u128.to_be_bytes());
    }

    #[test]
    fn what_is_too_short_or_changed_does_not_open() {
        let key = SealKey { encrypt: [1; 32], mac_k: [2; 16], mac_r: [3; 16] };
        let nonce = [4; NONCE_BYTES];
        let mut sealed = [&nonce[..], b"bytes", &key.tag(&nonce, b"bytes")].concat();

        assert!(key.open(&sealed).is_ok());
        assert!(key.open(&sealed[..SEAL_BYTES - 1]).is_err());
        sealed[NONCE_BYTES] ^= 1;
        assert!(key.open(&sealed).is_err());
    }
}
