#pragma once
/* Reason phrases of status codes: RFC 9110 §15, the IANA registry, and 499 and 530, which a verdict
 * may give. Static storage; any thread. */
#include "base/slice.h"

/* Empty for codes without one. */
struct slice status_reason(unsigned status);
