"""The key pair that signs tokens: generated, and read from the settings. Needs no database."""

import base64
import binascii
from dataclasses import dataclass

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from joserfc.jwk import OKPKey

from cc_common.errors import SettingsError

PRIVATE_KEY_SETTING = "auth.jwts.private-key"
PUBLIC_KEY_SETTING = "auth.jwts.public-key"
_SEED_BYTES = 32


@dataclass(frozen=True, slots=True)
class TokenKeys:
    """The key pair that signs tokens; without the private key tokens can be verified but not issued."""

    public: OKPKey
    private: OKPKey | None = None

    @classmethod
    def from_base64(cls, *, private: str = "", public: str = "") -> "TokenKeys":
        """The keys from their base64 texts; one of the two may be empty.

        JWT_PRIVATE_KEY has 64 bytes, seed and public key; JWT_PUBLIC_KEY has the 32 bytes of the public key.

        Raises:
            SettingsError: both are empty, one is invalid, or they are not a pair.
        """
        if not private and not public:
            raise SettingsError(
                PUBLIC_KEY_SETTING, f"{PUBLIC_KEY_SETTING}: no token key is set; `cc-backend init` makes a pair"
            )
        public_bytes = _key_bytes(PUBLIC_KEY_SETTING, public, 32) if public else b""
        private_key = None
        if private:
            private_bytes = _key_bytes(PRIVATE_KEY_SETTING, private, 64)
            seed, tail = private_bytes[:_SEED_BYTES], private_bytes[_SEED_BYTES:]
            pair = Ed25519PrivateKey.from_private_bytes(seed)
            derived = _public_bytes(pair)
            if tail != derived:
                raise SettingsError(
                    PRIVATE_KEY_SETTING, f"{PRIVATE_KEY_SETTING}: the two halves of the key do not belong together"
                )
            if public_bytes and public_bytes != derived:
                raise SettingsError(
                    PUBLIC_KEY_SETTING, f"{PUBLIC_KEY_SETTING}: the key does not belong to {PRIVATE_KEY_SETTING}"
                )
            public_bytes = derived
            private_key = OKPKey.import_key(pair)
        return cls(OKPKey.import_key(Ed25519PublicKey.from_public_bytes(public_bytes)), private_key)


def generate_keys() -> tuple[str, str]:
    """A new private and public key, in the format of JWT_PRIVATE_KEY and JWT_PUBLIC_KEY."""
    key = Ed25519PrivateKey.generate()
    seed = key.private_bytes(serialization.Encoding.Raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())
    public = _public_bytes(key)
    return base64.b64encode(seed + public).decode(), base64.b64encode(public).decode()


def _public_bytes(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _key_bytes(setting: str, text: str, size_bytes: int) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SettingsError(setting, f"{setting}: the key is not base64") from error
    if len(raw) != size_bytes:
        raise SettingsError(setting, f"{setting}: the key has {len(raw)} bytes; it must have {size_bytes}")
    if not any(raw):
        raise SettingsError(setting, f"{setting}: the key is all zeros")
    return raw
