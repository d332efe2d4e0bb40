/* Tunnel tokens, credentials files and cert.pem: what is read can be written. */
#include <stdlib.h>

#include "model/tunnel_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct credential c;
    struct origin_cert cert;
    struct slice text = slice_of(data, size);
    bool has_id;
    arena_init(&arena, 16 * 1024 * 1024);
    if (tunnel_token_read(text, &arena, &c, NULL) == 0)
        (void)tunnel_token_write(&c, &arena);
    if (credential_read(text, &arena, &c, &has_id, NULL) == 0)
        (void)credential_write(&c, &arena);
    if (origin_cert_read(text, &arena, &cert, NULL) == 0)
        (void)origin_cert_write(&cert, &arena);
    arena_done(&arena);
    return 0;
}
