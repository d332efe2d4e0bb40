/* The head of a packet that another process read: what is understood is written again as it was,
 * but for bytes that mean nothing. */
#include <stdlib.h>
#include <string.h>

#include "net/udp_relay.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct udp_relayed got, again;
    uint8_t head[UDP_RELAY_HEAD_BYTES];
    if (udp_relay_read(slice_of(data, size), &got) < 0)
        return 0;
    must(size >= sizeof head && got.ecn <= 3);
    struct udp_packet p = { .from = &got.from, .to = &got.to, .ecn = got.ecn };
    udp_relay_write(&p, head);
    must(udp_relay_read(slice_of(head, sizeof head), &again) == 0);
    must(addr_eq(&again.from, &got.from) && addr_eq(&again.to, &got.to) && again.ecn == got.ecn);
    return 0;
}
