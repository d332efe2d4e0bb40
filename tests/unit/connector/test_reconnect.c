#include "base/err.h"
#include "connector/reconnect.h"
#include "test.h"

TEST(every_loss_has_a_reason_to_be_counted_by)
{
    CHECK(reconnect_metric(ERR_TIMEOUT) == SERVE_reconnects_silent);
    CHECK(reconnect_metric(ERR_AUTH) == SERVE_reconnects_refused);
    CHECK(reconnect_metric(ERR_CERT) == SERVE_reconnects_tls);
    CHECK(reconnect_metric(ERR_REFUSED) == SERVE_reconnects_unreachable);
    CHECK(reconnect_metric(ERR_CLOSED) == SERVE_reconnects_closed);
    CHECK(reconnect_metric(ERR_RESET) == SERVE_reconnects_broken);
    CHECK(reconnect_metric(ERR_CUT) == SERVE_reconnects_broken);
}

TESTS(RUN(every_loss_has_a_reason_to_be_counted_by))
