#pragma once
/* Which failure it is when an origin does not do its part, by how far it had come. Pure. */
#include "connector/origin.h"
#include "http/failure.h"

/* Before the connection was ready; `fault` is TLS's word. */
enum failure origin_failure_to_connect(enum origin_stage at, int err, enum tls_fault fault);
/* After the request was on its way. */
enum failure origin_failure_to_answer(int err, bool got_any, bool has_head);
