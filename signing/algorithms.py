"""The names that signatures of PES use, and which are admitted: namespaces, algorithms, policies.

Clauses are those of ``docs/helios.md``, section 5.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from pes.reading import xml

DS: Final = xml.XMLDSIG
MORE: Final = "http://www.w3.org/2001/04/xmldsig-more#"
XMLENC: Final = "http://www.w3.org/2001/04/xmlenc#"
XADES: Final = "http://uri.etsi.org/01903/v1.2.2#"
EXC_C14N: Final = "http://www.w3.org/2001/10/xml-exc-c14n#"
ENVELOPED: Final = f"{DS}enveloped-signature"
RSA_SHA256: Final = f"{MORE}rsa-sha256"
SHA256: Final = f"{XMLENC}sha256"
SHA1: Final = f"{DS}sha1"

# 5.3 and 5.4: namespace of the properties, and the version that people know it by.
XADES_VERSIONS: Final[Mapping[str, str]] = {XADES: "1.2.2", "http://uri.etsi.org/01903/v1.1.1#": "1.1.1"}
PROPERTIES_TYPES: Final = frozenset(
    f"{prefix}SignedProperties" for prefix in (*XADES_VERSIONS, "http://uri.etsi.org/01903#")
)
# 5.7: inclusive canonicalisation is refused.
CANONICALISATIONS: Final = frozenset({EXC_C14N, f"{EXC_C14N}WithComments"})


@dataclass(frozen=True)
class Method:
    """A way to sign: the family of the key, and the digest, as hashlib names it."""

    family: Literal["rsa", "ecdsa"]
    digest: Literal["sha1", "sha256", "sha384", "sha512"]


# SHA-1 is the form of before 2018 (5.4): admitted, and reported as such.
SIGNATURE_METHODS: Final[Mapping[str, Method]] = {
    f"{DS}rsa-sha1": Method("rsa", "sha1"),
    RSA_SHA256: Method("rsa", "sha256"),
    f"{MORE}rsa-sha384": Method("rsa", "sha384"),
    f"{MORE}rsa-sha512": Method("rsa", "sha512"),
    f"{MORE}ecdsa-sha256": Method("ecdsa", "sha256"),
    f"{MORE}ecdsa-sha384": Method("ecdsa", "sha384"),
    f"{MORE}ecdsa-sha512": Method("ecdsa", "sha512"),
}
DIGESTS: Final[Mapping[str, str]] = {
    SHA1: "sha1",
    SHA256: "sha256",
    f"{MORE}sha384": "sha384",
    f"{XMLENC}sha512": "sha512",
}

# 5.5: the policy in force since the SHA-256 era.
POLICY: Final = "urn:oid:1.2.250.1.131.1.5.18.21.1.7"
POLICY_DESCRIPTION: Final = "Politique de signature Helios de la DGFiP"
POLICY_SHA256: Final = "roF9+cfRHNPtVJolhdqfIqGMVuUXX8aR4rpiquf0u5E="
POLICY_LOCATION: Final = (
    "https://www.collectivites-locales.gouv.fr/files/files/finances_locales/dematerialisation/ps_helios_dgfip.pdf"
)
# One policy was published again under the same OID. Digests without their padding: a genuine signature lacks it.
KNOWN_POLICIES: Final[Mapping[str, frozenset[str]]] = {
    "urn:oid:1.2.250.1.131.1.5.18.21.1.4": frozenset(
        {"Jkdb+aba0Hz6+ZPKmKNhPByzQ+Q", "pYtFgzn09kQWZywqdIGVd1fFI07tjKmEAyQHr0l/YAk"}
    ),
    POLICY: frozenset({POLICY_SHA256.rstrip("="), "GbP1WjbTrHp6h9zlsz5RN7AqkJbnDNDOAQzgm1qzIJ4"}),
}
