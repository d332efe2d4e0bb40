#pragma once
/* Time. Monotonic nanoseconds are sampled once a loop turn (net/loop.h) and passed down; wall time
 * is for certificates, tokens and log lines only. Any thread. */
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

typedef uint64_t nsec;

#define NSEC_PER_USEC 1000ULL
#define NSEC_PER_MSEC 1000000ULL
#define NSEC_PER_SEC  1000000000ULL
#define NSEC_NEVER    UINT64_MAX

/* CLOCK_MONOTONIC. */
nsec clock_monotonic(void);

/* Microseconds since 1970, UTC. */
int64_t clock_wall_us(void);

#define CLOCK_TEXT_BYTES 28

/* RFC 3339, UTC, with six digits of fraction and Z ("2026-01-02T03:04:05.000006Z"). Returns `text`.
 */
char *clock_rfc3339(int64_t wall_us, char text[static CLOCK_TEXT_BYTES]);
/* The other way: any fraction, Z or an offset whose '+' may have become a space in a query. 0 or
 * ERR_PARSE. */
int clock_parse_rfc3339(struct slice text, int64_t *ret_us);
