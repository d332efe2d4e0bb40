/* What a connector writes of a failure: it has a name and a page, which is bounded, and nothing in
 * it is markup or moves a terminal. */
#include <stdlib.h>

#include "http/page.h"
#include "net/loop.h"

#define BYTES_MAX 8192
#define PAGE_MOST 12288

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void nothing(struct task *t)
{
    (void)t;
}

static void check_page(struct loop *loop, struct task *left, enum failure failure, const char *text,
                       const char *accept)
{
    static char body[PAGE_MOST];
    struct page page;
    struct exchange *ex = exchange_new(loop, left);
    must(ex != NULL);
    ex->request.method = SLICE("GET");
    must(fields_add(&ex->request.fields, SLICE("Accept"), slice_str(accept)) == 0);
    page_for_failure(failure, text, &page);
    must(page_respond(ex, &page) == 0);
    size_t n = buf_len(&ex->down.held);
    must(n < sizeof body);
    must(buf_copy(&ex->down.held, 0, (uint8_t *)body, n) == n);
    for (size_t i = 0; i < n; i++)
        must(((unsigned char)body[i] >= 0x20 || body[i] == '\n') && body[i] != 0x7f);
    must(memmem(body, n, "<script", 7) == NULL || strcmp(accept, "text/html") != 0);
    must(slice_is_utf8(slice_of(body, n)));
    buf_drop(&ex->down.held, n);
    exchange_leave(ex, EX_LEFT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const FORMS[] = { "text/html", "application/json", "text/plain" };
    struct loop *loop;
    struct task left;
    struct slice all = slice_of(data, size);
    if (size > BYTES_MAX)
        return 0;
    enum failure failure = failure_of_text(all), word = failure_of_word(all);
    must(failure > FAILURE_NONE && failure < FAILURE_COUNT && word < FAILURE_COUNT);
    must(word == FAILURE_NONE || slice_eq(all, slice_str(failure_word(word))));
    if (!slice_is_utf8(all) || memchr(data, 0, size) != NULL)
        return 0; /* the edge passes neither on */
    char *text = slice_dup(all);
    must(loop_new(&loop) == 0);
    task_init(&left, loop, nothing);
    for (size_t i = 0; i < sizeof FORMS / sizeof FORMS[0]; i++)
        check_page(loop, &left, failure, text, FORMS[i]);
    for (int i = 0; i < 4; i++)
        loop_turn(loop, 0);
    task_done(&left);
    loop_free(loop);
    free(text);
    return 0;
}
