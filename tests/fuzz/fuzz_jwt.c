/* Tokens and key sets: whatever comes is read within bounds, and what was read is a view of it. */
#include <stdlib.h>

#include "base/err.h"
#include "codec/jwt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

/* One key for each algorithm would make every input slow: any set does for what is read here. */
static void try_keys(struct slice text)
{
    struct jwks *keys = NULL;
    struct fault fault = { 0 };
    int r = jwks_parse(text, &keys, &fault);
    must(r == 0 ? jwks_count(keys) <= JWKS_KEYS_MAX : fault.code == r && fault.text[0] != 0);
    jwks_free(keys);
}

static void try_token(struct slice text)
{
    struct jwt token = { 0 };
    struct fault fault = { 0 };
    int r = jwt_parse(text, &token, &fault);
    if (r < 0) {
        must(fault.code == r && fault.text[0] != 0 && token.bytes == NULL);
        return;
    }
    must(token.signed_text.p == text.p && token.signed_text.n < text.n);
    must(token.signature.n > 0 && token.key_id.n <= JWT_KEY_ID_MAX);
    (void)jwt_has_audience(&token, SLICE("a"));
    struct jwks *keys = NULL;
    must(jwks_parse(SLICE("{\"keys\":[]}"), &keys, NULL) == 0);
    must(jwks_check(keys, &token) == ERR_NOTFOUND); /* nothing is good without a key */
    jwks_free(keys);
    jwt_done(&token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of(data, size);
    try_token(text);
    try_keys(text);
    return 0;
}
