#include "net/resolve.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/err.h"
#include "base/limits.h"

struct resolve {
    uv_getaddrinfo_t request;
    struct task *owner;
    int result; /* ERR_AGAIN while under way */
    struct addr addrs[RESOLVE_ADDRS_MAX];
    size_t count;
    bool is_freed; /* while under way: the callback frees it */
};

static bool is_in_place;

void resolve_in_place(bool is_on)
{
    is_in_place = is_on;
}

static void take(struct resolve *r, int status, const struct addrinfo *list)
{
    for (const struct addrinfo *a = list; status == 0 && a != NULL && r->count < RESOLVE_ADDRS_MAX;
         a = a->ai_next) {
        if (a->ai_addrlen > sizeof r->addrs[0].sa)
            continue;
        memcpy(&r->addrs[r->count].sa, a->ai_addr, a->ai_addrlen);
        r->addrs[r->count++].size = a->ai_addrlen;
    }
    if (r->count > 0)
        r->result = 0;
    else
        r->result = status == UV_EAI_NONAME || status == UV_EAI_NODATA ? ERR_NOTFOUND : ERR_RESOLVE;
}

static void on_answer(uv_getaddrinfo_t *request, int status, struct addrinfo *list)
{
    struct resolve *r = container_of(request, struct resolve, request);
    take(r, status, list);
    uv_freeaddrinfo(list);
    if (r->is_freed)
        free(r);
    else
        task_wake(r->owner);
}

int resolve_start(struct loop *loop, struct slice name, uint16_t port, struct task *owner,
                  struct resolve **ret)
{
    char host[HOSTNAME_BYTES_MAX + 1], service[8];
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    if (name.n == 0 || name.n > HOSTNAME_BYTES_MAX || slice_find(name, 0) < name.n)
        return ERR_RESOLVE;
    memcpy(host, name.p, name.n);
    host[name.n] = 0;
    (void)snprintf(service, sizeof service, "%u", port);
    struct resolve *r = calloc(1, sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->owner = owner;
    r->result = ERR_AGAIN;
    if (addr_parse_ip(name, port, &r->addrs[0]) == 0) {
        r->count = 1;
        r->result = 0;
        task_wake(owner);
    } else if (is_in_place) {
        take(r, uv_getaddrinfo(loop_uv(loop), &r->request, NULL, host, service, &hints),
             r->request.addrinfo);
        uv_freeaddrinfo(r->request.addrinfo);
        task_wake(owner);
    } else if (uv_getaddrinfo(loop_uv(loop), &r->request, on_answer, host, service, &hints) < 0) {
        free(r);
        return ERR_RESOLVE;
    }
    *ret = r;
    return 0;
}

int resolve_result(const struct resolve *r, struct addr *addrs, size_t max, size_t *ret_count)
{
    if (r->result < 0)
        return r->result;
    size_t n = r->count < max ? r->count : max;
    memcpy(addrs, r->addrs, n * sizeof addrs[0]);
    *ret_count = n;
    return 0;
}

void resolve_free(struct resolve *r)
{
    if (r == NULL)
        return;
    if (r->result == ERR_AGAIN) {
        r->is_freed = true;
        (void)uv_cancel((uv_req_t *)&r->request); /* the callback comes in any case */
    } else {
        free(r);
    }
}
