#pragma once
/* What request methods mean (RFC 9110 §9.2). Pure. */
#include <stdbool.h>

#include "base/slice.h"

/* Whether the same request may be sent twice without more harm than once. Unknown methods may not.
 */
bool method_is_idempotent(struct slice method);
