/* One peer of an RPC conversation, fed with anything: as a server and as a client that has a call
 * under way. */
#include <stdlib.h>

#include "base/err.h"
#include "tunnel/registration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chunk_pool *pool = chunk_pool_new();
    struct buf in, out;
    struct rpc *rpc = rpc_new();
    struct rpc_event e;
    struct register_params params;
    struct register_result result;
    uint32_t id;
    buf_init(&in, pool, 1 << 21);
    buf_init(&out, pool, 1 << 24);
    if (size > 0 && (data[0] & 1) != 0) {
        (void)!rpc_bootstrap(rpc, &out);
        (void)!unregister_call(rpc, &out, &id);
    }
    if (size > 1 && buf_put(&in, slice_of(data + 1, size - 1)) == 0)
        for (int i = 0; i < 10000 && rpc_next(rpc, &in, &out, &e) == 0 && e.kind != RPC_OVER; i++) {
            if (e.kind == RPC_CALL) {
                (void)!register_params_read(&e.value, &params);
                (void)!empty_answer(rpc, e.id, &out);
            } else if (e.kind == RPC_RETURN) {
                (void)!register_result_read(&e.value, &result);
            }
        }
    rpc_free(rpc);
    buf_done(&in);
    buf_done(&out);
    chunk_pool_free(pool);
    return 0;
}
