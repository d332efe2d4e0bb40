#include "codec/websocket.h"

#include "base/err.h"
#include "base/text.h"
#include "crypto/sha1.h"

#define GUID          "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 §1.3 */
#define KEY_BYTES_MAX 64

_Static_assert(WEBSOCKET_ACCEPT_BYTES == BASE64_BYTES(SHA1_BYTES), "an accept key is base64");

int websocket_accept_key(struct slice key, char out[static WEBSOCKET_ACCEPT_BYTES])
{
    uint8_t text[KEY_BYTES_MAX + sizeof GUID];
    uint8_t digest[SHA1_BYTES];
    if (key.n == 0 || key.n > KEY_BYTES_MAX)
        return ERR_INVALID;
    memcpy(text, key.p, key.n);
    memcpy(text + key.n, GUID, sizeof GUID - 1);
    int r = sha1(slice_of(text, key.n + sizeof GUID - 1), digest);
    if (r < 0)
        return r;
    (void)base64_encode(slice_of(digest, sizeof digest), BASE64_STD, true, out);
    return 0;
}

static bool opcode_is_known(unsigned opcode)
{
    return opcode <= WEBSOCKET_BINARY || (opcode >= WEBSOCKET_CLOSE && opcode <= WEBSOCKET_PONG);
}

static uint64_t big_endian(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[i];
    return value;
}

int websocket_head_decode(struct slice bytes, struct websocket_frame *ret)
{
    if (bytes.n < 2)
        return ERR_AGAIN;
    unsigned opcode = bytes.p[0] & 0x0f, short_length = bytes.p[1] & 0x7f;
    struct websocket_frame out = { .opcode = (enum websocket_opcode)opcode,
                                   .is_final = (bytes.p[0] & 0x80) != 0,
                                   .is_masked = (bytes.p[1] & 0x80) != 0,
                                   .length = short_length };
    /* No extension is ever agreed on by us, so the reserved bits are zero (§5.2). */
    if ((bytes.p[0] & 0x70) != 0 || !opcode_is_known(opcode))
        return ERR_PROTO;
    if (websocket_is_control(out.opcode) &&
        (!out.is_final || short_length > WEBSOCKET_CONTROL_BYTES))
        return ERR_PROTO;
    size_t extra = short_length == 126 ? 2 : short_length == 127 ? 8 : 0;
    size_t size = 2 + extra + (out.is_masked ? 4 : 0);
    if (bytes.n < 2 + extra)
        return ERR_AGAIN;
    if (extra > 0) {
        out.length = big_endian(bytes.p + 2, extra);
        if (out.length > INT64_MAX || out.length < (extra == 2 ? 126U : 65536U))
            return ERR_PROTO;
    }
    if (bytes.n < size)
        return ERR_AGAIN;
    if (out.is_masked)
        memcpy(out.mask, bytes.p + 2 + extra, 4);
    *ret = out;
    return (int)size;
}

size_t websocket_head_encode(const struct websocket_frame *frame,
                             uint8_t out[static WEBSOCKET_HEAD_BYTES])
{
    size_t extra = frame->length < 126 ? 0 : frame->length < 65536 ? 2 : 8;
    unsigned length = extra == 0 ? (unsigned)frame->length : extra == 2 ? 126 : 127;
    out[0] = (uint8_t)((frame->is_final ? 0x80U : 0) | (unsigned)frame->opcode);
    out[1] = (uint8_t)((frame->is_masked ? 0x80U : 0) | length);
    for (size_t i = 0; i < extra; i++)
        out[2 + i] = (uint8_t)(frame->length >> (8 * (extra - 1 - i)));
    if (!frame->is_masked)
        return 2 + extra;
    memcpy(out + 2 + extra, frame->mask, 4);
    return 2 + extra + 4;
}

void websocket_mask(uint8_t *p, size_t n, const uint8_t mask[static 4], uint64_t at)
{
    uint8_t turned[8];
    for (size_t i = 0; i < sizeof turned; i++)
        turned[i] = mask[(at + i) & 3];
    uint64_t word;
    memcpy(&word, turned, sizeof word);
    size_t i = 0;
    for (; n - i >= sizeof word; i += sizeof word) {
        uint64_t piece;
        memcpy(&piece, p + i, sizeof piece);
        piece ^= word;
        memcpy(p + i, &piece, sizeof piece);
    }
    for (; i < n; i++)
        p[i] ^= turned[i & 7];
}
