"""Certificates are read where they are needed, and whoever has none read trusts nobody."""

import ssl

import pytest

from common.tls import verify


@pytest.mark.parametrize("url", ["https://example.org", "HTTPS://example.org:8443/a"])
def test_certificates_are_checked_where_there_are_some(url: str) -> None:
    assert verify(url) is True


def test_plain_http_has_none_and_an_answer_in_tls_is_not_believed() -> None:
    context = verify("http://127.0.0.1:8000")
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.get_ca_certs() == []
