"""Wires `signature` and runs it."""

import sys
from contextlib import ExitStack
from functools import partial

from services.signature.adapters.registries import PostgresRegistries
from services.signature.adapters.seal import KeySeal
from services.signature.adapters.trust import TrustFolder
from services.signature.administration import Administration
from services.signature.api import administration_routes, signature_routes
from services.signature.examination import Examiner
from services.signature.expiry import Expiry
from services.signature.handler import Signing, on_step_taken, on_validated
from services.signature.parapheur import Parapheur
from services.signature.settings import DECIDING, Settings
from shared.bus.consumer import Handler, Subscription
from shared.facts.fact import Fact
from shared.facts.flux import BordereauxSigned, FluxValidated, SignatureRestarted, VisaGiven
from shared.retrying import for_ever, until_it_answers
from shared.runtime.applied import record_settings, told
from shared.runtime.service import EXIT_BAD_SETTINGS, open_parts, read_settings, run, run_service, utc_now
from shared.web.app import caller_dependency, service_app
from signing.certificates import fingerprint
from signing.keys import KeyUnusableError, PemKey, Pkcs11Key, SigningKey, read_secret
from signing.xades import Stated

BEGINS_WITH = (FluxValidated, SignatureRestarted)
GOES_ON_WITH = (VisaGiven, BordereauxSigned)
TRUST_LOOK_SECONDS = 60  # between two looks at whom the trust list names, which changes while the service runs


async def serve(settings: Settings, seal: KeySeal | None) -> None:
    """Open what the service needs, and run until it is asked to stop."""
    trust = TrustFolder(settings.trust_folder, is_proof_required=settings.revocation_proof == "require")
    async with open_parts(settings) as parts:
        registries = PostgresRegistries(parts.database)
        examiner = Examiner(trust, utc_now)
        signing = Signing(parts.history, parts.documents, registries, examiner, seal, utc_now)
        parapheur = Parapheur(parts.history, parts.documents, registries, examiner, utc_now)
        expiry = Expiry(registries, trust, seal, utc_now)
        app = service_app(
            "signature",
            "Fait signer les flux et vérifie leurs signatures.",
            checks={**parts.checks, "trust list": trust.check},
            waits_for=parts.bus.waits_for,
        )
        caller = caller_dependency(parts.tokens)
        app.include_router(signature_routes(parapheur, expiry, caller=caller))
        administration = Administration(parts.history, registries, utc_now, has_key=seal is not None)
        app.include_router(administration_routes(administration, caller=caller))
        handlers: dict[type[Fact], Handler] = {
            **dict.fromkeys(BEGINS_WITH, partial(on_validated, signing=signing)),
            **dict.fromkeys(GOES_ON_WITH, partial(on_step_taken, signing=signing)),
        }

        async def tell_settings() -> None:
            trusted = sorted(fingerprint(one) for one in trust.current().authorities)
            sealed = fingerprint(seal.certificate) if seal is not None else ""
            chosen = told(settings, DECIDING) | {"TRUST_FOLDER": " ".join(trusted), "SEAL_CERTIFICATE": sealed}
            await record_settings("signature", chosen, history=parts.history, now=utc_now)

        async def hear() -> None:
            adopting = partial(administration.adopt_seal, settings.sealed_collectivites)
            await until_it_answers(adopting, outage="seal.unknown")  # before any flux asks who chose it
            await parts.bus.run(Subscription("signature", handlers))

        telling = for_ever(tell_settings, outage="trust.untold", every_seconds=TRUST_LOOK_SECONDS)
        await run_service(app, settings, [hear(), expiry.watch(), telling])


def seal_of(settings: Settings, keys: ExitStack) -> KeySeal | None:
    """Return the seal that the settings describe, if they do; a token is closed with `keys`."""
    key = _seal_key(settings, keys)
    if key is None:
        return None
    stated = Stated(settings.seal_role, settings.seal_city, settings.seal_postal_code)
    return KeySeal(key, stated)


def _seal_key(settings: Settings, keys: ExitStack) -> SigningKey | None:
    if settings.seal_key_file is not None and settings.seal_certificate_file is not None:
        return PemKey.from_files(settings.seal_key_file, settings.seal_certificate_file)
    if settings.seal_pkcs11_module is not None and settings.seal_pkcs11_pin_file is not None:
        pin = read_secret(settings.seal_pkcs11_pin_file).decode()
        token = settings.seal_pkcs11_token
        return keys.enter_context(
            Pkcs11Key.open(settings.seal_pkcs11_module, token, pin, label=settings.seal_pkcs11_certificate)
        )
    return None


def main() -> None:
    """Run the service; a seal that cannot be opened ends it as a wrong setting does."""
    settings = read_settings(Settings, "signature")
    with ExitStack() as keys:
        try:
            seal = seal_of(settings, keys)
        except KeyUnusableError as error:
            sys.stderr.write(f"signature: the seal: {error}\n")
            raise SystemExit(EXIT_BAD_SETTINGS) from error
        run(serve(settings, seal))


if __name__ == "__main__":
    main()
