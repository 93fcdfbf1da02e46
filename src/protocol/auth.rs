//! How does a password become login bytes, and how are those bytes checked?
//!
//! Two plugins, both directions. Sources: MySQL Internals "Native Authentication" and "Caching SHA-2
//! information"; the test vectors were computed by MySQL's own client library.
//!
//! - `mysql_native_password`: `SHA1(pw) XOR SHA1(nonce ‖ SHA1(SHA1(pw)))`; the server stores
//!   `SHA1(SHA1(pw))`, written `*HEX`.
//! - `caching_sha2_password`, fast path: `SHA256(pw) XOR SHA256(SHA256(SHA256(pw)) ‖ nonce)`; the server
//!   holds `SHA256(SHA256(pw))`. Full path: the password itself, `pw ‖ 00`, inside TLS, or as
//!   RSA-OAEP(SHA1, MGF1-SHA1) of `(pw ‖ 00) XOR nonce`, the nonce repeated.
//!
//! Comparisons take the same time whatever differs. An empty password is sent as no bytes at all (or as
//! one zero byte, which the login reader has already taken away).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use rand::RngExt as _;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

/// How long the nonce (the "salt" of the greeting) is, in bytes.
pub const NONCE_LEN: usize = 20;

/// The authentication plugins that the gate speaks, on either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Plugin {
    /// `mysql_native_password`: MariaDB's default and that of clients older than MySQL 8.
    NativePassword,
    /// `caching_sha2_password`: MySQL's default since 8.0.
    CachingSha2,
}

/// What `mysql_native_password` stores of a password: `SHA1(SHA1(pw))`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NativeHash([u8; 20]);

/// What the fast path of `caching_sha2_password` needs of a password: `SHA256(SHA256(pw))`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Sha2Hash([u8; 32]);

/// The key pair with which clients on plain TCP hide their password in a full authentication.
#[derive(Debug)]
pub struct RsaKeyPair {
    decrypting: OaepPrivateDecryptingKey,
    public_pem: String,
}

/// Why a password could not be encrypted, decrypted or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The other side's public key is no RSA key in PEM form.
    #[error("the server's public key is not an RSA key in PEM form")]
    PublicKey,
    /// The password is too long for the key (214 bytes for RSA-2048, the final zero included).
    #[error("the password is too long for the server's RSA key")]
    TooLong,
    /// No key pair could be made.
    #[error("cannot generate an RSA key pair")]
    KeyGeneration,
    /// Not what this key encrypted, or not a password.
    #[error("the encrypted password cannot be read")]
    Ciphertext,
    /// A stored hash that is not the hexadecimal form of its plugin.
    #[error("not a hash of this plugin: expected {expected} hexadecimal digits")]
    HashForm {
        /// How many digits the plugin's hash has.
        expected: usize,
    },
}

/// A fresh nonce: 20 bytes of 1..=127 from a cryptographically secure generator.
///
/// NUL would cut the nonce short in many clients; `$` is kept out as MySQL does (`generate_user_salt`),
/// because it separates the parts of stored hashes.
#[must_use]
pub fn new_nonce() -> [u8; NONCE_LEN] {
    let mut rng = rand::rng();
    std::array::from_fn(|_| match rng.random_range(1..=127_u8) {
        b'$' => b'%',
        byte => byte,
    })
}

/// What a client of `mysql_native_password` sends: 20 bytes, or none for the empty password.
#[must_use]
pub fn native_scramble(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let mut scramble = sha1(&[password]);
    xor(&mut scramble, &sha1(&[nonce, &NativeHash::of(password).0]));
    scramble.to_vec()
}

/// What a client of `caching_sha2_password` sends first: 32 bytes, or none for the empty password.
#[must_use]
pub fn caching_sha2_scramble(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let mut scramble = sha256(&[password]);
    xor(&mut scramble, &sha256(&[&Sha2Hash::of(password).0, nonce]));
    scramble.to_vec()
}

/// What a client of `caching_sha2_password` sends in a full authentication on plain TCP: `pw ‖ 00`, hidden
/// by the nonce, encrypted for the server's public key (PEM, "PUBLIC KEY").
pub fn encrypt_password_rsa(password: &[u8], nonce: &[u8], pem: &[u8]) -> Result<Vec<u8>, AuthError> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| AuthError::PublicKey)?;
    let key = PublicEncryptingKey::from_der(&der)
        .and_then(|key| OaepPublicEncryptingKey::new(key).map_err(Into::into))
        .map_err(|_| AuthError::PublicKey)?;
    let hidden = hide(password, nonce);
    if hidden.len() > key.max_plaintext_size(&OAEP_SHA1_MGF1SHA1) {
        return Err(AuthError::TooLong);
    }
    let mut encrypted = vec![0; key.ciphertext_size()];
    let length = key
        .encrypt(&OAEP_SHA1_MGF1SHA1, &hidden, &mut encrypted, None)
        .map_err(|_| AuthError::PublicKey)?
        .len();
    encrypted.truncate(length);
    Ok(encrypted)
}

/// The password of a full authentication inside TLS or a unix socket: what stands before the final zero.
///
/// # Errors
/// [`AuthError::Ciphertext`] when the final zero is missing or another one stands before it.
pub fn clear_password(packet: &[u8]) -> Result<&[u8], AuthError> {
    match packet.split_last() {
        Some((0, password)) if !password.contains(&0) => Ok(password),
        _ => Err(AuthError::Ciphertext),
    }
}

// === impl Plugin ===

impl Plugin {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NativePassword => "mysql_native_password",
            Self::CachingSha2 => "caching_sha2_password",
        }
    }

    /// The plugin of that name, if it is one of ours.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Option<Self> {
        [Self::NativePassword, Self::CachingSha2].into_iter().find(|plugin| plugin.name().as_bytes() == name)
    }

    /// What a client of this plugin sends first for `password`.
    #[must_use]
    pub fn scramble(self, password: &[u8], nonce: &[u8]) -> Vec<u8> {
        match self {
            Self::NativePassword => native_scramble(password, nonce),
            Self::CachingSha2 => caching_sha2_scramble(password, nonce),
        }
    }
}

// === impl NativeHash ===

impl NativeHash {
    /// The hash of a password.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self(sha1(&[&sha1(&[password])]))
    }

    /// Reads the stored form, `*` and 40 hexadecimal digits, as `PASSWORD()` wrote it.
    pub fn from_hex(text: &str) -> Result<Self, AuthError> {
        read_hash(text).map(Self)
    }

    /// Whether `response` is what a client that knows the password sends for `nonce`.
    #[must_use]
    pub fn verify(&self, nonce: &[u8], response: &[u8]) -> bool {
        let Ok(mut candidate) = <[u8; 20]>::try_from(response) else { return false };
        xor(&mut candidate, &sha1(&[nonce, &self.0]));
        verify_slices_are_equal(&sha1(&[&candidate]), &self.0).is_ok()
    }

    /// Whether this is the hash of `password`.
    #[must_use]
    pub fn verify_password(&self, password: &[u8]) -> bool {
        verify_slices_are_equal(&Self::of(password).0, &self.0).is_ok()
    }
}

// === impl Sha2Hash ===

impl Sha2Hash {
    /// The hash of a password.
    #[must_use]
    pub fn of(password: &[u8]) -> Self {
        Self(sha256(&[&sha256(&[password])]))
    }

    /// Reads the stored form: 64 hexadecimal digits, with or without `*` before them (Vitess's static file).
    pub fn from_hex(text: &str) -> Result<Self, AuthError> {
        read_hash(text).map(Self)
    }

    /// Whether `response` is what a client that knows the password sends for `nonce`.
    #[must_use]
    pub fn verify(&self, nonce: &[u8], response: &[u8]) -> bool {
        let Ok(mut candidate) = <[u8; 32]>::try_from(response) else { return false };
        xor(&mut candidate, &sha256(&[&self.0, nonce]));
        verify_slices_are_equal(&sha256(&[&candidate]), &self.0).is_ok()
    }

    /// Whether this is the hash of `password`.
    #[must_use]
    pub fn verify_password(&self, password: &[u8]) -> bool {
        verify_slices_are_equal(&Self::of(password).0, &self.0).is_ok()
    }
}

impl std::fmt::Debug for NativeHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NativeHash(…)")
    }
}

impl std::fmt::Debug for Sha2Hash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sha2Hash(…)")
    }
}

// === impl RsaKeyPair ===

impl RsaKeyPair {
    /// A new RSA-2048 pair, as MySQL makes one. Takes about 0.1 s of CPU: once per process, off the
    /// runtime's workers.
    pub fn generate() -> Result<Self, AuthError> {
        let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).map_err(|_| AuthError::KeyGeneration)?;
        let der = key.public_key().as_der().map_err(|_| AuthError::KeyGeneration)?;
        let public_pem = pem_of(der.as_ref());
        let decrypting = OaepPrivateDecryptingKey::new(key).map_err(|_| AuthError::KeyGeneration)?;
        Ok(Self { decrypting, public_pem })
    }

    /// The public key in PEM form, as it goes to clients.
    #[must_use]
    pub fn public_pem(&self) -> &str {
        &self.public_pem
    }

    /// The password in a packet that [`encrypt_password_rsa`] (or any client's counterpart) made.
    pub fn decrypt_password(&self, encrypted: &[u8], nonce: &[u8]) -> Result<Vec<u8>, AuthError> {
        if encrypted.len() != self.decrypting.key_size_bytes() {
            return Err(AuthError::Ciphertext);
        }
        let mut plain = vec![0; self.decrypting.min_output_size()];
        let length = self
            .decrypting
            .decrypt(&OAEP_SHA1_MGF1SHA1, encrypted, &mut plain, None)
            .map_err(|_| AuthError::Ciphertext)?
            .len();
        plain.truncate(length);
        xor_repeated(&mut plain, nonce);
        clear_password(&plain).map(<[u8]>::to_vec)
    }
}

// === pieces ===

fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    digest_of(&SHA1_FOR_LEGACY_USE_ONLY, parts)
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    digest_of(&SHA256, parts)
}

/// The digest of the parts in a row; `N` is the algorithm's output length.
fn digest_of<const N: usize>(algorithm: &'static digest::Algorithm, parts: &[&[u8]]) -> [u8; N] {
    let mut context = digest::Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    let mut output = [0; N];
    output.copy_from_slice(context.finish().as_ref());
    output
}

fn xor<const N: usize>(target: &mut [u8; N], mask: &[u8; N]) {
    for (byte, mask) in target.iter_mut().zip(mask) {
        *byte ^= mask;
    }
}

/// XORs with the mask repeated; an empty mask (no nonce) changes nothing.
fn xor_repeated(target: &mut [u8], mask: &[u8]) {
    for (byte, mask) in target.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

fn hide(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let mut hidden = Vec::with_capacity(password.len() + 1);
    hidden.extend_from_slice(password);
    hidden.push(0);
    xor_repeated(&mut hidden, nonce);
    hidden
}

fn read_hash<const N: usize>(text: &str) -> Result<[u8; N], AuthError> {
    let mut hash = [0; N];
    let digits = text.strip_prefix('*').unwrap_or(text);
    hex::decode_to_slice(digits, &mut hash).map_err(|_| AuthError::HashForm { expected: 2 * N })?;
    Ok(hash)
}

/// PEM (RFC 7468) of a SubjectPublicKeyInfo: base64 in lines of 64 characters.
fn pem_of(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - group.len()));
            for position in 0..4 {
                let digit = usize::try_from(bits >> (18 - 6 * position) & 0x3f).unwrap_or(0);
                pem.push(if position <= group.len() { char::from(ALPHABET[digit]) } else { '=' });
            }
        }
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The nonce of the captured logins: 01 02 … 14.
    const NONCE: [u8; NONCE_LEN] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

    #[test]
    fn scrambles_are_those_of_mysql_clients() {
        assert_eq!(hex::encode(native_scramble(b"pw", &NONCE)), "b0df30c74af91ea34514aaab203bd4b707f86375");
        assert_eq!(
            hex::encode(caching_sha2_scramble(b"pw", &NONCE)),
            "71192ff0ec98fcb2cbaf7de6f3958c02e20756c534e7f907f65ae0c1125dac26"
        );
        assert_eq!(hex::encode(hide(b"pw", &NONCE)), "717503");
        assert!(native_scramble(b"", &NONCE).is_empty());
        assert!(caching_sha2_scramble(b"", &NONCE).is_empty());
    }

    #[test]
    fn stored_hashes_verify_scrambles() {
        // SELECT PASSWORD('mypass') of MySQL 5.7's manual.
        let native = NativeHash::from_hex("*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4").unwrap();
        assert!(native.verify(&NONCE, &native_scramble(b"mypass", &NONCE)));
        assert!(native.verify_password(b"mypass"));
        assert!(!native.verify(&NONCE, &native_scramble(b"mypast", &NONCE)));
        assert!(!native.verify(&NONCE, b""));
        let sha2 = Sha2Hash::of(b"pw");
        let form = hex::encode_upper(sha2.0);
        assert_eq!(Sha2Hash::from_hex(&form), Ok(sha2));
        assert_eq!(Sha2Hash::from_hex(&format!("*{form}")), Ok(sha2));
        assert!(sha2.verify(&NONCE, &caching_sha2_scramble(b"pw", &NONCE)));
        assert!(!sha2.verify(&[1; 20], &caching_sha2_scramble(b"pw", &NONCE)));
        assert!(!sha2.verify(&NONCE, b""));
        assert_eq!(NativeHash::from_hex("*6C89"), Err(AuthError::HashForm { expected: 40 }));
        assert_eq!(Sha2Hash::from_hex(&"z".repeat(64)), Err(AuthError::HashForm { expected: 64 }));
    }

    #[test]
    fn passwords_cross_plain_tcp_by_rsa() {
        let pair = RsaKeyPair::generate().unwrap();
        assert!(pair.public_pem().lines().all(|line| line.len() <= 64));
        let pem = pair.public_pem().as_bytes();
        for password in [&b"pw"[..], b"", "Zürich 😀 and longer than the nonce is".as_bytes(), &[b'x'; 213]]
        {
            let sent = encrypt_password_rsa(password, &NONCE, pem).unwrap();
            assert_eq!(sent.len(), 256);
            assert_eq!(pair.decrypt_password(&sent, &NONCE).unwrap(), password);
            assert_ne!(pair.decrypt_password(&sent, &[9; 20]), Ok(password.to_vec()));
        }
        assert_eq!(encrypt_password_rsa(&[b'x'; 214], &NONCE, pem), Err(AuthError::TooLong));
        assert_eq!(encrypt_password_rsa(b"pw", &NONCE, b"no key"), Err(AuthError::PublicKey));
        assert_eq!(pair.decrypt_password(&[7; 256], &NONCE), Err(AuthError::Ciphertext));
        assert_eq!(pair.decrypt_password(&[7; 2], &NONCE), Err(AuthError::Ciphertext));
    }

    #[test]
    fn a_clear_password_ends_with_its_only_zero() {
        assert_eq!(clear_password(b"pw\0"), Ok(&b"pw"[..]));
        assert_eq!(clear_password(b"\0"), Ok(&b""[..]));
        for bad in [&b""[..], b"pw", b"p\0w\0"] {
            assert_eq!(clear_password(bad), Err(AuthError::Ciphertext));
        }
    }

    #[test]
    fn nonces_have_no_byte_that_clients_stumble_over() {
        let first = new_nonce();
        assert_ne!(first, new_nonce());
        for _ in 0..200 {
            assert!(new_nonce().iter().all(|byte| (1..=127).contains(byte) && *byte != b'$'));
        }
    }

    proptest! {
        #[test]
        fn only_the_right_password_passes(
            password in proptest::collection::vec(1..=255_u8, 1..40),
            other in proptest::collection::vec(1..=255_u8, 1..40),
            nonce in proptest::array::uniform20(1..=127_u8),
        ) {
            let native = NativeHash::of(&password);
            let sha2 = Sha2Hash::of(&password);
            prop_assert!(native.verify(&nonce, &native_scramble(&password, &nonce)));
            prop_assert!(sha2.verify(&nonce, &caching_sha2_scramble(&password, &nonce)));
            prop_assert_eq!(native.verify(&nonce, &native_scramble(&other, &nonce)), password == other);
            prop_assert_eq!(sha2.verify(&nonce, &caching_sha2_scramble(&other, &nonce)), password == other);
        }

        #[test]
        fn hostile_responses_are_denied(response in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(!NativeHash::of(b"pw").verify(&NONCE, &response));
            prop_assert!(!Sha2Hash::of(b"pw").verify(&NONCE, &response));
        }
    }
}
