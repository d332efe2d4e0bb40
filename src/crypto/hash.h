#pragma once
/* Digests (GnuTLS). Any thread. */
#include <stdint.h>

#include "base/slice.h"

#define SHA256_BYTES 32

void sha256(struct slice s, uint8_t out[static SHA256_BYTES]);
void hmac_sha256(struct slice key, struct slice s, uint8_t out[static SHA256_BYTES]);
