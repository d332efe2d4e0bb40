#include "connector/reconnect.h"

#include "base/err.h"

enum serve_metric reconnect_metric(int err)
{
    switch (err) {
    case ERR_TIMEOUT:
        return SERVE_reconnects_silent;
    case ERR_AUTH:
        return SERVE_reconnects_refused;
    case ERR_CERT:
    case ERR_TLS:
        return SERVE_reconnects_tls;
    case ERR_REFUSED:
    case ERR_UNREACH:
        return SERVE_reconnects_unreachable;
    case ERR_CLOSED:
    case ERR_EOF:
        return SERVE_reconnects_closed;
    default:
        return SERVE_reconnects_broken;
    }
}
