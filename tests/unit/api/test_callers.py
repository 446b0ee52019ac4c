"""Authentication by API key or token, scopes, and rate limits."""

import hmac
import json
import os
import threading
import time
from base64 import urlsafe_b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from sink_runner.api.problems import ProblemError
from sink_runner.api.rate_limits import RateLimit
from sink_runner.api.tokens import KeyUrl
from sink_runner.config.api import TokenIssuer
from sink_runner.config.reader import SettingError, SettingsReader

from ...support.api_service import FAMILY
from .test_callbacks import problem

ISSUER, AUDIENCE = "https://issuer.example", "sink"


@pytest.fixture(scope="module")
def key():
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


@pytest.fixture
def jwks(tmp_path, key):
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(KeySet([key]).as_dict(private=False)))
    return path


@pytest.fixture
def oauth_service(serve, jwks):
    """A service that accepts the issuer's tokens."""
    return serve(
        f'[api.oauth]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks_file = "{jwks}"\n'
        "leeway_seconds = 5\n"
    )


def token(key, *, algorithm="RS256", kid="one", typ="at+jwt", **changed):
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "subject-all",
        "scope": "forecasts:write profiles:read",
        "exp": now + 60,
        "iat": now,
    }
    claims |= changed
    claims = {name: value for name, value in claims.items() if value is not None}
    header = {"alg": algorithm, "kid": kid} | ({"typ": typ} if typ else {})
    return jwt.encode(header, claims, key, algorithms=[algorithm], default_type=None)


def post_with_token(service, text):
    return service.post(key=None, Authorization=f"Bearer {text}")


def test_request_without_credentials_is_refused(service):
    response = service.post(key=None)
    problem(response, 401, "unauthorized")
    assert response.headers["www-authenticate"].startswith("Bearer")


def test_unknown_key_is_refused_before_body(service):
    problem(service.post(body={"no": "forecast"}, key="sink_wrong"), 401, "unauthorized")


def test_two_credentials_are_refused(service):
    problem(service.post(Authorization="Bearer x"), 401, "unauthorized")


def test_client_without_scope_is_refused(service):
    problem(service.post(key="none"), 403, "forbidden")
    problem(service.get(f"/v1/profiles/{FAMILY}", key="none"), 403, "forbidden")


def test_stored_hash_is_not_accepted_as_key(service):
    stored = service.services.api.clients["all"].key_hash
    problem(service.post(key=stored), 401, "unauthorized")


def test_valid_token_is_accepted(oauth_service, key):
    assert post_with_token(oauth_service, token(key)).status_code == 202


def test_token_without_scope_is_refused(oauth_service, key):
    problem(post_with_token(oauth_service, token(key, scope="profiles:read")), 403, "forbidden")
    problem(post_with_token(oauth_service, token(key, scope=None)), 403, "forbidden")


def test_token_of_client_without_scope_is_refused(oauth_service, key):
    problem(post_with_token(oauth_service, token(key, sub="subject-none")), 403, "forbidden")


def test_token_of_unknown_client_is_refused(oauth_service, key):
    problem(post_with_token(oauth_service, token(key, sub="stranger")), 403, "forbidden")


@pytest.mark.parametrize(
    "changed",
    [
        {"exp": int(time.time()) - 60},
        {"exp": None},
        {"exp": 10**300},
        {"exp": 1e300},
        {"exp": int(time.time()) + 2 * 86_400},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": -1},
        {"exp": True},
        {"exp": str(int(time.time()) + 60)},
        {"exp": [int(time.time()) + 60]},
        {"iat": float("nan")},
        {"iat": int(time.time()) + 86_400},
        {"nbf": float("nan")},
        {"nonce": "n-0S6_WzA2Mj"},
        {"at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"},
        {"c_hash": "LDktKdoQak3Pk0cnXxCltA"},
        {"typ_": "ID"},
        {"token_use": "id"},
        {"sub": 1},
        {"nbf": int(time.time()) + 86_400},
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
    ],
    ids=lambda changed: next(iter(changed)),  # the times are not the same in two processes
)
def test_token_with_invalid_claim_is_refused(oauth_service, key, changed):
    changed = {name.rstrip("_"): value for name, value in changed.items()}
    problem(post_with_token(oauth_service, token(key, **changed)), 401, "unauthorized")


@pytest.mark.parametrize("typ", ["JWT", None, "id_token+jwt", "logout+jwt", "dpop+jwt", ""])
def test_token_of_another_type_is_refused(oauth_service, key, typ):
    """RFC 9068, section 4: the same key signs ID tokens, which any client may have."""
    response = post_with_token(oauth_service, token(key, typ=typ))
    problem(response, 401, "unauthorized")
    assert "api.oauth.token_types" in response.json()["detail"]


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt"])
def test_access_token_is_recognized_by_its_type(oauth_service, key, typ):
    assert post_with_token(oauth_service, token(key, typ=typ)).status_code == 202


def test_other_token_types_can_be_configured(serve, jwks, key):
    service = serve(
        f'[api.oauth]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks_file = "{jwks}"\n'
        'token_types = ["at+jwt", "JWT"]\n'
    )
    for typ in ("JWT", None, "at+jwt"):
        assert post_with_token(service, token(key, typ=typ)).status_code == 202
    for claim in ({"nonce": "x"}, {"at_hash": "x"}, {"token_use": "id"}):
        problem(post_with_token(service, token(key, typ="JWT", **claim)), 401, "unauthorized")


@pytest.mark.parametrize(
    "claims",
    [
        {"scope": ["profiles:read", "forecasts:write"]},
        {"scope": None, "scp": ["forecasts:write"]},
        {"scope": None, "scp": "profiles:read forecasts:write"},
        {"scope": [1, None, {}, "forecasts:write"]},
    ],
    ids=["list", "scp-list", "scp-text", "mixed"],
)
def test_scopes_may_be_a_list(oauth_service, key, claims):
    assert post_with_token(oauth_service, token(key, **claims)).status_code == 202


@pytest.mark.parametrize(
    "scope", [1, {"forecasts:write": 1}, "forecasts:writes", ["x"], [[]], True]
)
def test_scopes_of_invalid_form_are_ignored(oauth_service, key, scope):
    problem(post_with_token(oauth_service, token(key, scope=scope)), 403, "forbidden")


@pytest.mark.filterwarnings("ignore:Key size")
def test_short_rsa_key_is_refused(oauth_service, jwks, key):
    weak = RSAKey.import_key(rsa.generate_private_key(65537, 1024), {"kid": "weak"})
    jwks.write_text(json.dumps(KeySet([key, weak]).as_dict(private=False)))
    os.utime(jwks, ns=(1, 1))
    problem(post_with_token(oauth_service, token(weak, kid="weak")), 401, "unauthorized")
    assert post_with_token(oauth_service, token(key)).status_code == 202


def test_token_signed_by_another_key_is_refused(oauth_service):
    other = RSAKey.generate_key(2048, {"kid": "one"})
    problem(post_with_token(oauth_service, token(other)), 401, "unauthorized")
    problem(post_with_token(oauth_service, token(other, kid="two")), 401, "unauthorized")


def test_token_signed_with_public_key_is_refused(oauth_service, key):
    """Algorithm confusion: the verifier must not use a public key as a shared secret."""
    header, payload = '{"alg":"HS256","kid":"one"}', token(key).split(".")[1]
    signed = f"{urlsafe_b64encode(header.encode()).decode().rstrip('=')}.{payload}"
    signature = hmac.digest(key.as_pem(private=False), signed.encode(), "sha256")
    text = f"{signed}.{urlsafe_b64encode(signature).decode().rstrip('=')}"
    problem(post_with_token(oauth_service, text), 401, "unauthorized")


def test_token_without_signature_is_refused(oauth_service, key):
    header, payload, _ = token(key).split(".")
    none = "eyJhbGciOiJub25lIn0"  # {"alg":"none"}
    for text in (f"{none}.{payload}.", f"{header}.{payload}.", "a.b.c", "", "x" * 5000):
        problem(post_with_token(oauth_service, text), 401, "unauthorized")


def test_unlisted_signature_algorithm_is_refused(oauth_service, key):
    problem(post_with_token(oauth_service, token(key, algorithm="PS256")), 401, "unauthorized")


def test_tokens_are_refused_without_issuer(service, key):
    problem(post_with_token(service, token(key)), 401, "unauthorized")


def test_changed_key_file_is_read_again(oauth_service, jwks):
    new = RSAKey.generate_key(2048, {"kid": "two"})
    problem(post_with_token(oauth_service, token(new, kid="two")), 401, "unauthorized")
    jwks.write_text(json.dumps(KeySet([new]).as_dict(private=False)))
    os.utime(jwks, ns=(1, 1))
    assert post_with_token(oauth_service, token(new, kid="two")).status_code == 202


def test_missing_key_file_is_server_error(oauth_service, key, jwks):
    jwks.unlink()
    problem(post_with_token(oauth_service, token(key)), 503, "unavailable")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"jwks_url": "https://x.example", "jwks_file": "x"},
        {"jwks_url": "https://x.example", "algorithms": ["HS256"]},
        {"jwks_url": "https://x.example", "algorithms": ["none"]},
        {"jwks_url": "https://x.example", "algorithms": []},
        {"jwks_url": "https://x.example", "token_types": []},
        {"jwks_url": "https://x.example", "token_types": ["id_token"]},
        {"jwks_url": "http://x.example/keys"},
        {"jwks_url": "http://127.0.0.1/keys"},
        {"jwks_url": "http://x.example/keys", "allow_plaintext_jwks": True},
        {"jwks_url": "http://127.0.0.1@x.example/keys", "allow_plaintext_jwks": True},
        {"jwks_url": "http://127.0.0.1.x.example/keys", "allow_plaintext_jwks": True},
        {"jwks_url": "ftp://127.0.0.1/keys", "allow_plaintext_jwks": True},
        {"jwks_url": "/etc/keys.json"},
    ],
)
def test_uncheckable_issuer_is_configuration_error(settings):
    table = {"issuer": ISSUER, "audience": AUDIENCE, **settings}
    with pytest.raises(SettingError):
        SettingsReader().read(TokenIssuer, table, "api.oauth")


class TestKeyUrl:
    @pytest.fixture
    def issuer(self, key):
        """A key server that counts its requests and can fail."""
        state = {"requests": 0, "status": 200, "keys": KeySet([key]).as_dict(private=False)}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                state["requests"] += 1
                body = json.dumps(state["keys"]).encode()
                self.send_response(state["status"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        state["url"] = f"http://127.0.0.1:{server.server_address[1]}/"
        yield state
        server.shutdown()
        server.server_close()

    @pytest.fixture
    def source(self, issuer):
        self.now = 0.0
        oauth = TokenIssuer(
            issuer=ISSUER,
            audience=AUDIENCE,
            jwks_url=issuer["url"],
            allow_plaintext_jwks=True,
            refresh_seconds=300.0,
        )
        return KeyUrl(oauth, clock=lambda: self.now)

    def test_keys_are_fetched_again_when_old(self, issuer, source):
        for self.now in (0.0, 100.0, 299.0):
            source.keys(refresh=False)
        assert issuer["requests"] == 1
        self.now = 301.0
        source.keys(refresh=False)
        assert issuer["requests"] == 2

    def test_unknown_key_ids_cause_limited_fetches(self, issuer, source):
        source.keys(refresh=False)
        for self.now in (1.0, 5.0, 11.0, 12.0, 13.0):
            source.keys(refresh=True)
        assert issuer["requests"] == 2

    def test_old_keys_are_used_while_issuer_is_unavailable(self, issuer, source):
        assert [key.kid for key in source.keys(refresh=False)] == ["one"]
        issuer["status"], self.now = 500, 400.0
        assert [key.kid for key in source.keys(refresh=False)] == ["one"]

    def test_keys_never_fetched_are_server_error(self, issuer, source):
        issuer["status"] = 500
        with pytest.raises(ProblemError) as caught:
            source.keys(refresh=False)
        assert caught.value.status == 503
        issuer["keys"], issuer["status"], self.now = {"keys": "nonsense"}, 200, 20.0
        with pytest.raises(ProblemError):
            source.keys(refresh=False)


def test_rate_limit_answers_with_retry_after(serve):
    service = serve("")
    service.services.rates._burst, service.services.rates._rate = 2, 0.5
    assert [service.post().status_code for _ in range(2)] == [202, 202]
    response = service.post()
    problem(response, 429, "too-many-requests")
    assert response.headers["retry-after"] == "2"
    assert service.post(key="groupless").status_code == 202


def test_bucket_refills_up_to_its_size():
    now = [0.0]
    limit = RateLimit(rate=1, burst=2, clock=lambda: now[0])

    def count_accepted(requests):
        accepted = 0
        for _ in range(requests):
            try:
                limit.take("caller")
            except ProblemError:
                continue
            accepted += 1
        return accepted

    assert count_accepted(5) == 2
    now[0] = 1.0
    assert count_accepted(5) == 1
    now[0] = 100.0
    assert count_accepted(5) == 2
