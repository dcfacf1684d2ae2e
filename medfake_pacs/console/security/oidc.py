"""OpenID Connect as a relying party: authorization code with PKCE, and the checks of an ID token (Core 3.1.3.7).

Needs the extra ``oidc``: import it only where single sign-on is configured. Provider metadata is kept for some
minutes; keys are fetched at each sign-in, so that a provider may rotate them at any time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from medfake_pacs.config.console import OidcSettings
from medfake_pacs.console.security.provider_metadata import ProviderMetadata
from medfake_pacs.errors import MedfakeError

_SCOPE = "openid profile email"
_TIMEOUT_S = 10.0
_LEEWAY_S = 60
_LONGEST_SUBJECT = 255
# Never "none", and never HMAC: its key would be the client's secret.
_ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
_REQUIRED = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


class SignOnError(MedfakeError):
    """The provider can't be reached, or what it says doesn't hold; the text is for the console's log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """What must come back unchanged, or is proved, at the end of one sign-in."""

    state: str
    nonce: str
    code_verifier: str


def authorization_url(settings: OidcSettings, known: ProviderMetadata, redirect_uri: str, flow: Flow) -> str:
    """Return where the browser goes to sign in at the provider.

    Raises
    ------
    SignOnError
        If the provider doesn't answer or its metadata isn't its own.
    """
    with _client(settings, redirect_uri) as client:
        metadata = known.get(lambda: _metadata(client, settings))
        endpoint = metadata["authorization_endpoint"]
        url, _ = client.create_authorization_url(
            endpoint, state=flow.state, nonce=flow.nonce, code_verifier=flow.code_verifier
        )
        return str(url)


def claims_of(
    settings: OidcSettings, known: ProviderMetadata, redirect_uri: str, flow: Flow, code: str
) -> Mapping[str, Any]:
    """Trade the code for an ID token and return its claims, every one checked that OpenID Connect asks for.

    Raises
    ------
    SignOnError
        If signature, issuer, audience, times, nonce or anything else is wrong.
    """
    with _client(settings, redirect_uri) as client:
        metadata = known.get(lambda: _metadata(client, settings))
        try:
            token = client.fetch_token(
                metadata["token_endpoint"],
                grant_type="authorization_code",
                code=code,
                code_verifier=flow.code_verifier,
                redirect_uri=redirect_uri,
            )
            keys = KeySet.import_key_set(_document(client, metadata["jwks_uri"]))
            return _verified(settings, metadata, keys, token, flow.nonce)
        except (OAuthError, JoseError, httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
            raise SignOnError(_reason(error)) from error


def _verified(
    settings: OidcSettings, metadata: Mapping[str, Any], keys: KeySet, token: Mapping[str, Any], nonce: str
) -> Mapping[str, Any]:
    offered = set(metadata.get("id_token_signing_alg_values_supported") or ["RS256"])
    registry = JWSRegistry(algorithms=sorted(offered & _ALGORITHMS), strict_check_header=False)
    decoded = jwt.decode(token["id_token"], key=keys, registry=registry)
    expected = {
        "iss": {"essential": True, "value": metadata["issuer"]},
        "aud": {"essential": True, "value": settings.client_id},
        "sub": {"essential": True, "allow_blank": False},
        "exp": {"essential": True},
    }
    facts = {"nonce": nonce, "client_id": settings.client_id, "access_token": token.get("access_token")}
    claims = CodeIDToken(decoded.claims, decoded.header, expected, facts)
    claims.validate(leeway=_LEEWAY_S)
    subject = claims["sub"]
    if not isinstance(subject, str) or len(subject) > _LONGEST_SUBJECT or not subject.isprintable():
        raise SignOnError("the subject isn't text of at most 255 characters")
    return dict(claims)


def _client(settings: OidcSettings, redirect_uri: str) -> OAuth2Client:
    try:
        secret = settings.client_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SignOnError(f"console.oidc.client_secret_file can't be read: {error}") from error
    return OAuth2Client(
        settings.client_id,
        secret,
        scope=_SCOPE,
        redirect_uri=redirect_uri,
        code_challenge_method="S256",
        timeout=_TIMEOUT_S,
        follow_redirects=False,
    )


def _metadata(client: OAuth2Client, settings: OidcSettings) -> Mapping[str, Any]:
    """Return the provider's metadata (Discovery 4), and refuse another's, or endpoints without TLS."""
    try:
        found = _document(client, f"{settings.issuer}/.well-known/openid-configuration")
        issuer = found["issuer"]
        endpoints = [str(found[name]) for name in _REQUIRED]
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise SignOnError(f"the provider's metadata can't be had: {_reason(error)}") from error
    if not isinstance(issuer, str) or issuer.rstrip("/") != settings.issuer:
        raise SignOnError("the provider's metadata names another issuer")
    for url in (settings.issuer, *endpoints):
        parts = urlsplit(url)
        if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise SignOnError(f"{url} isn't protected by TLS")
    return found


def _document(client: OAuth2Client, url: str) -> Any:
    answer = client.request("GET", url, withhold_token=True)
    answer.raise_for_status()
    return answer.json()


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]
