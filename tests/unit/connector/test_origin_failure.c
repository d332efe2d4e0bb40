#include "connector/origin_failure.h"

#include "test.h"

TEST(a_connection_that_fails_is_told_by_how_far_it_came)
{
    static const struct {
        enum origin_stage at;
        int err;
        enum tls_fault fault;
        enum failure failure;
    } TABLE[] = {
        { ORIGIN_RESOLVING, ERR_RESOLVE, TLS_FAULT_NONE, FAILURE_ORIGIN_UNRESOLVED },
        { ORIGIN_RESOLVING, ERR_TIMEOUT, TLS_FAULT_NONE, FAILURE_ORIGIN_UNRESOLVED },
        { ORIGIN_RESOLVING, ERR_NOMEM, TLS_FAULT_NONE, FAILURE_CONNECTOR_BUSY },
        { ORIGIN_CONNECTING, ERR_REFUSED, TLS_FAULT_NONE, FAILURE_ORIGIN_REFUSED },
        { ORIGIN_CONNECTING, ERR_UNREACH, TLS_FAULT_NONE, FAILURE_ORIGIN_UNREACHABLE },
        { ORIGIN_CONNECTING, ERR_TIMEOUT, TLS_FAULT_NONE, FAILURE_ORIGIN_CONNECT_TIMEOUT },
        { ORIGIN_CONNECTING, ERR_NOTFOUND, TLS_FAULT_NONE, FAILURE_ORIGIN_NO_SOCKET },
        { ORIGIN_CONNECTING, ERR_DENIED, TLS_FAULT_NONE, FAILURE_ORIGIN_DENIED },
        { ORIGIN_CONNECTING, ERR_LIMIT, TLS_FAULT_NONE, FAILURE_CONNECTOR_BUSY },
        { ORIGIN_HANDSHAKE, ERR_TIMEOUT, TLS_FAULT_NONE, FAILURE_ORIGIN_TLS_TIMEOUT },
        { ORIGIN_HANDSHAKE, ERR_CUT, TLS_FAULT_NONE, FAILURE_ORIGIN_TLS },
        { ORIGIN_HANDSHAKE, ERR_TLS, TLS_FAULT_OTHER, FAILURE_ORIGIN_TLS },
        { ORIGIN_HANDSHAKE, ERR_TLS, TLS_FAULT_NOT_TLS, FAILURE_ORIGIN_NOT_TLS },
        { ORIGIN_HANDSHAKE, ERR_TLS, TLS_FAULT_WANTED, FAILURE_ORIGIN_TLS_WANTED },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_NAME, FAILURE_ORIGIN_CERT_NAME },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_EXPIRED, FAILURE_ORIGIN_CERT_EXPIRED },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_EARLY, FAILURE_ORIGIN_CERT_EARLY },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_ISSUER, FAILURE_ORIGIN_CERT_ISSUER },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_SELF, FAILURE_ORIGIN_CERT_SELF },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_REVOKED, FAILURE_ORIGIN_CERT_REVOKED },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_WEAK, FAILURE_ORIGIN_CERT_WEAK },
        { ORIGIN_HANDSHAKE, ERR_CERT, TLS_FAULT_CERT, FAILURE_ORIGIN_CERT },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        enum failure got = origin_failure_to_connect(TABLE[i].at, TABLE[i].err, TABLE[i].fault);
        if (got != TABLE[i].failure)
            fail_msg("row %zu: got %s, want %s", i, failure_word(got),
                     failure_word(TABLE[i].failure));
    }
    (void)state_;
}

TEST(an_answer_that_fails_is_told_by_what_had_come_of_it)
{
    static const int MALFORMED[] = { ERR_PARSE, ERR_PROTO, ERR_LIMIT, ERR_TOOLARGE, ERR_INVALID };
    for (size_t i = 0; i < sizeof MALFORMED / sizeof MALFORMED[0]; i++)
        CHECK(origin_failure_to_answer(MALFORMED[i], true, false) == FAILURE_ORIGIN_MALFORMED);
    CHECK(origin_failure_to_answer(ERR_NOMEM, true, true) == FAILURE_CONNECTOR_BUSY);
    CHECK(origin_failure_to_answer(ERR_TIMEOUT, false, false) == FAILURE_ORIGIN_HEADERS_TIMEOUT);
    CHECK(origin_failure_to_answer(ERR_TIMEOUT, true, true) == FAILURE_ORIGIN_IDLE_TIMEOUT);
    CHECK(origin_failure_to_answer(ERR_CUT, false, false) == FAILURE_ORIGIN_RESET);
    CHECK(origin_failure_to_answer(ERR_RESET, false, false) == FAILURE_ORIGIN_RESET);
    CHECK(origin_failure_to_answer(ERR_CUT, true, false) == FAILURE_ORIGIN_CUT);
    CHECK(origin_failure_to_answer(ERR_RESET, true, true) == FAILURE_ORIGIN_CUT);
}

TESTS(RUN(a_connection_that_fails_is_told_by_how_far_it_came),
      RUN(an_answer_that_fails_is_told_by_what_had_come_of_it))
