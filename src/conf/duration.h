#pragma once
/* Durations as Go writes them: "1h2m3s", "1.5h", "250ms", "-1s", "0". Pure. */
#include "base/clock.h"
#include "base/slice.h"

/* Signed nanoseconds. ERR_PARSE (also for a bare number but 0), ERR_RANGE. */
int duration_parse(struct slice text, int64_t *ret) __attribute__((warn_unused_result));
