#include "connector/origin_failure.h"

#include "base/err.h"

static enum failure of_handshake(int err, enum tls_fault fault)
{
    static const enum failure OF_FAULT[] = {
        [TLS_FAULT_NONE] = FAILURE_ORIGIN_TLS,
        [TLS_FAULT_OTHER] = FAILURE_ORIGIN_TLS,
        [TLS_FAULT_NOT_TLS] = FAILURE_ORIGIN_NOT_TLS,
        [TLS_FAULT_NAME] = FAILURE_ORIGIN_CERT_NAME,
        [TLS_FAULT_EXPIRED] = FAILURE_ORIGIN_CERT_EXPIRED,
        [TLS_FAULT_EARLY] = FAILURE_ORIGIN_CERT_EARLY,
        [TLS_FAULT_ISSUER] = FAILURE_ORIGIN_CERT_ISSUER,
        [TLS_FAULT_SELF] = FAILURE_ORIGIN_CERT_SELF,
        [TLS_FAULT_REVOKED] = FAILURE_ORIGIN_CERT_REVOKED,
        [TLS_FAULT_WEAK] = FAILURE_ORIGIN_CERT_WEAK,
        [TLS_FAULT_CERT] = FAILURE_ORIGIN_CERT,
        [TLS_FAULT_WANTED] = FAILURE_ORIGIN_TLS_WANTED,
    };
    return err == ERR_TIMEOUT ? FAILURE_ORIGIN_TLS_TIMEOUT : OF_FAULT[fault];
}

enum failure origin_failure_to_connect(enum origin_stage at, int err, enum tls_fault fault)
{
    if (err == ERR_NOMEM || err == ERR_LIMIT)
        return FAILURE_CONNECTOR_BUSY;
    if (at == ORIGIN_RESOLVING)
        return FAILURE_ORIGIN_UNRESOLVED;
    return at == ORIGIN_HANDSHAKE ? of_handshake(err, fault) : failure_of_err(err, HOP_ORIGIN);
}

enum failure origin_failure_to_answer(int err, bool got_any, bool has_head)
{
    switch (err) {
    case ERR_NOMEM:
        return FAILURE_CONNECTOR_BUSY;
    case ERR_PARSE:
    case ERR_PROTO:
    case ERR_LIMIT:
    case ERR_TOOLARGE:
    case ERR_INVALID:
        return FAILURE_ORIGIN_MALFORMED;
    case ERR_TIMEOUT:
        return has_head ? FAILURE_ORIGIN_IDLE_TIMEOUT : FAILURE_ORIGIN_HEADERS_TIMEOUT;
    default:
        return got_any ? FAILURE_ORIGIN_CUT : FAILURE_ORIGIN_RESET;
    }
}
