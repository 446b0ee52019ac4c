"""Pass requests to the services of ``[api.services]``, such as one that computes forecasts."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import structlog
import urllib3
from urllib3.exceptions import HTTPError

from ..config.api import Service
from ..errors import ConfigError
from .problems import ProblemError, unavailable

_OK_BELOW, _SERVER_ERROR = 300, 500
_TEMPORARY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class ServiceClient:
    """Sends each request at most once in `repeat_seconds`; threads may share it."""

    def __init__(
        self, name: str, settings: Service, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._settings = settings
        self._clock = clock
        self._sent: dict[bytes, float] = {}
        self._lock = threading.Lock()
        context = settings.tls_context() if settings.is_encrypted else None
        self._pool = urllib3.PoolManager(
            timeout=settings.seconds, retries=False, **settings.pool_options(context)
        )

    def send(self, body: Any) -> None:
        """Send a request unless the same was sent lately.

        Raises ProblemError: 503 if the service does not answer, 502 if it refuses the request.
        """
        text = json.dumps(body, sort_keys=True).encode()
        if not self._claim(text):
            return
        try:
            self._post(text)
        except BaseException:
            with self._lock:
                self._sent.pop(text, None)  # absent if `repeat_seconds` have passed
            raise

    def close(self) -> None:
        self._pool.clear()

    def _claim(self, text: bytes) -> bool:
        """Return whether this thread is to send the request."""
        now = self._clock()
        oldest = now - self._settings.repeat_seconds
        with self._lock:
            self._sent = {known: sent for known, sent in self._sent.items() if sent > oldest}
            if text in self._sent:
                return False
            self._sent[text] = now
        return True

    def _post(self, text: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        try:
            if self._settings.token is not None:
                headers["Authorization"] = f"Bearer {self._settings.token.read()}"
            answer = self._pool.request("POST", self._settings.url, body=text, headers=headers)
        except (ConfigError, HTTPError) as fault:
            raise self._fail(type(fault).__name__) from None
        if answer.status >= _SERVER_ERROR or answer.status in _TEMPORARY:
            raise self._fail(f"status {answer.status}")
        if answer.status >= _OK_BELOW:
            self._fail(f"status {answer.status}")
            raise ProblemError(
                HTTPStatus.BAD_GATEWAY,
                "refused",
                f"the service {self._name} refuses the request; its operator must look",
            )

    def _fail(self, reason: str) -> ProblemError:
        structlog.get_logger().warning("api_service_failed", service=self._name, reason=reason)
        return unavailable(f"the service {self._name}")
