#include "http/failure.h"

#include "base/err.h"
#include "test.h"

TEST(every_failure_has_a_word_a_code_and_a_page_of_its_own)
{
    for (unsigned i = 1; i < FAILURE_COUNT; i++) {
        const struct failure_row *row = failure_row((enum failure)i);
        CHECK(strlen(row->word) > 3 && strlen(row->title) > 10 && strlen(row->next) > 10);
        CHECK(row->status >= 400 && row->status < 600 && row->code >= 1000 && row->code < 1100);
        CHECK(row->title[strlen(row->title) - 1] != '.' && row->next[strlen(row->next) - 1] == '.');
        CHECK(failure_of_word(slice_str(row->word)) == (enum failure)i);
        for (unsigned k = 1; k < i; k++) {
            const struct failure_row *other = failure_row((enum failure)k);
            CHECK(other->code != row->code && strcmp(other->word, row->word) != 0);
            CHECK(strcmp(other->title, row->title) != 0);
        }
    }
    CHECK(failure_of_word(SLICE("")) == FAILURE_NONE);
    CHECK(failure_of_word(SLICE("something_else")) == FAILURE_NONE);
    CHECK(failure_row((enum failure)9999) == failure_row(FAILURE_UNKNOWN));
}

TEST(every_error_at_every_hop_is_some_failure)
{
    for (int err = -29; err < 0; err++)
        for (int hop = HOP_NONE; hop <= HOP_ORIGIN; hop++)
            CHECK(failure_of_err(err, (enum hop)hop) != FAILURE_NONE);
    CHECK(failure_of_err(0, HOP_ORIGIN) == FAILURE_NONE);
    CHECK(failure_of_err(ERR_REFUSED, HOP_ORIGIN) == FAILURE_ORIGIN_REFUSED);
    CHECK(failure_of_err(ERR_REFUSED, HOP_TUNNEL) == FAILURE_LINK_LOST);
    CHECK(failure_of_err(ERR_CANCELED, HOP_VISITOR) == FAILURE_VISITOR_GONE);
    CHECK(failure_of_err(ERR_BUSY, HOP_CONNECTOR) == FAILURE_FLOW_LIMIT);
}

/* What cloudflared 2026.8.2 writes. */
TEST(the_reference_s_texts_are_understood)
{
    static const struct {
        const char *text;
        enum failure failure;
    } TABLE[] = {
        { "dial tcp 127.0.0.1:1: connect: connection refused", FAILURE_ORIGIN_REFUSED },
        { "dial tcp: lookup nowhere.invalid on 127.0.0.53:53: no such host",
          FAILURE_ORIGIN_UNRESOLVED },
        { "dial tcp 192.0.2.1:80: i/o timeout", FAILURE_ORIGIN_CONNECT_TIMEOUT },
        { "dial tcp 192.0.2.1:80: connect: no route to host", FAILURE_ORIGIN_UNREACHABLE },
        { "dial unix /run/x: connect: no such file or directory", FAILURE_ORIGIN_NO_SOCKET },
        { "dial unix /run/x: connect: permission denied", FAILURE_ORIGIN_DENIED },
        { "net/http: TLS handshake timeout", FAILURE_ORIGIN_TLS_TIMEOUT },
        { "http: server gave HTTP response to HTTPS client", FAILURE_ORIGIN_NOT_TLS },
        { "tls: first record does not look like a TLS handshake", FAILURE_ORIGIN_NOT_TLS },
        { "tls: failed to verify certificate: x509: certificate is valid for a.test, not b.test",
          FAILURE_ORIGIN_CERT_NAME },
        { "tls: failed to verify certificate: x509: certificate has expired or is not yet valid: "
          "current time 2026-11-25T00:00:00Z is after 2020-01-01T00:00:00Z",
          FAILURE_ORIGIN_CERT_EXPIRED },
        { "tls: failed to verify certificate: x509: certificate signed by unknown authority",
          FAILURE_ORIGIN_CERT_ISSUER },
        { "remote error: tls: handshake failure", FAILURE_ORIGIN_TLS },
        { "EOF", FAILURE_ORIGIN_RESET },
        { "unexpected EOF", FAILURE_ORIGIN_RESET },
        { "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
          FAILURE_ORIGIN_RESET },
        { "net/http: HTTP/1.x transport connection broken: malformed HTTP response \"garbage\"",
          FAILURE_ORIGIN_MALFORMED },
#define BROKEN "net/http: HTTP/1.x transport connection broken: "
        { BROKEN "malformed HTTP status code \"tls:\"", FAILURE_ORIGIN_MALFORMED },
        { BROKEN "malformed HTTP response \"x509: no such host\"", FAILURE_ORIGIN_MALFORMED },
        { BROKEN "malformed MIME header: missing colon: \"foo bar\"", FAILURE_ORIGIN_MALFORMED },
        { BROKEN "unsupported transfer encoding: \"gzip\"", FAILURE_ORIGIN_MALFORMED },
        { BROKEN "too many transfer encodings: [\"chunked\" \"chunked\"]",
          FAILURE_ORIGIN_MALFORMED },
        { BROKEN "bad Content-Length \"abc\"", FAILURE_ORIGIN_MALFORMED },
        { BROKEN "net/http: server response headers exceeded 10485760 bytes; aborted",
          FAILURE_ORIGIN_MALFORMED },
        { BROKEN "unexpected EOF", FAILURE_ORIGIN_CUT },
        { BROKEN "read tcp 127.0.0.1:1->127.0.0.1:2: read: connection reset by peer",
          FAILURE_ORIGIN_CUT },
        { BROKEN "write tcp 127.0.0.1:1->127.0.0.1:2: write: broken pipe", FAILURE_ORIGIN_RESET },
        { BROKEN "http: ContentLength=10 with Body length 5", FAILURE_REQUEST_CUT },
        { BROKEN "context canceled", FAILURE_VISITOR_GONE },
        { BROKEN, FAILURE_ORIGIN_MALFORMED },
#undef BROKEN
        { "too many active flows", FAILURE_FLOW_LIMIT },
        { "something nobody has seen", FAILURE_ORIGIN },
        { "", FAILURE_ORIGIN },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        enum failure got = failure_of_text(slice_str(TABLE[i].text));
        if (got != TABLE[i].failure)
            (void)fprintf(stderr, "%s: %s\n", TABLE[i].text, failure_word(got));
        CHECK(got == TABLE[i].failure);
    }
}

TESTS(RUN(every_failure_has_a_word_a_code_and_a_page_of_its_own),
      RUN(every_error_at_every_hop_is_some_failure), RUN(the_reference_s_texts_are_understood))
