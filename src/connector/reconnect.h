#pragma once
#include "connector/serve.h"

/* As what the loss of a connection to the edge counts: the counter of
 * adit_connector_reconnects_total for an ERR_*. Pure. */
enum serve_metric reconnect_metric(int err);
