#pragma once
/* Small secrets at rest: AES-256-GCM with a random nonce. Any thread. */
#include <stdint.h>

#include "base/slice.h"

#define SEAL_KEY_BYTES 32
#define SEAL_OVERHEAD  29 /* version, nonce of 12, tag of 16 */

/* `out` has plain.n + SEAL_OVERHEAD bytes. `about` is bound to it: the same must be given to open
 * it. 0 or ERR_NOMEM. */
int seal(const uint8_t key[static SEAL_KEY_BYTES], struct slice about, struct slice plain,
         uint8_t *out) __attribute__((warn_unused_result));
/* `out` has sealed.n - SEAL_OVERHEAD bytes. ERR_DENIED when a single bit differs. */
int seal_open(const uint8_t key[static SEAL_KEY_BYTES], struct slice about, struct slice sealed,
              uint8_t *out) __attribute__((warn_unused_result));
