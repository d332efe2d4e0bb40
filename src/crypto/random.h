#pragma once
/* Chance for secrets, from the kernel. Aborts rather than be predictable. Any thread. */
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

void random_bytes(uint8_t *out, size_t n);
/* n characters of [0-9A-Za-z_-] and a NUL: 6 bits each. */
void random_token(char *out, size_t n);
/* Version 4 (RFC 9562 §5.4). */
void random_uuid(struct uuid *ret);
