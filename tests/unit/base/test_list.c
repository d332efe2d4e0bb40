#include "base/list.h"

#include "test.h"

struct item {
    int number;
    struct list node;
};

static void check(struct list *l, const char *want)
{
    char got[16] = "";
    size_t n = 0;
    struct list *before = l;
    list_each(it, l)
    {
        assert_ptr_equal(it->prev, before);
        got[n++] = (char)('0' + container_of(it, struct item, node)->number);
        before = it;
    }
    assert_ptr_equal(l->prev, before);
    assert_string_equal(got, want);
}

static void items_init(struct item *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        items[i].number = (int)i;
        list_init(&items[i].node);
    }
}

TEST(nodes_stand_where_they_were_put)
{
    struct list l = LIST_INIT(l);
    struct item items[4];
    items_init(items, 4);
    CHECK(list_is_empty(&l) && list_pop(&l) == NULL && !list_has_neighbours(&items[0].node));
    list_push_back(&l, &items[1].node);
    list_push_back(&l, &items[2].node);
    list_push_front(&l, &items[0].node);
    check(&l, "012");
    CHECK(list_has_neighbours(&items[0].node));
    list_remove(&items[1].node);
    check(&l, "02");
    list_remove(&items[1].node); /* in no list: does nothing */
    check(&l, "02");
    CHECK(list_pop(&l) == &items[0].node && !list_has_neighbours(&items[0].node));
    list_push_front(&l, &items[3].node);
    check(&l, "32");
}

TEST(a_node_may_leave_while_the_list_is_walked)
{
    struct list l = LIST_INIT(l);
    struct item items[6];
    items_init(items, 6);
    for (size_t i = 0; i < 6; i++)
        list_push_back(&l, &items[i].node);
    list_each(it, &l)
    {
        if (container_of(it, struct item, node)->number % 2 == 0)
            list_remove(it);
    }
    check(&l, "135");
    list_each(it, &l) list_remove(it);
    CHECK(list_is_empty(&l));
}

TEST(one_list_joins_another_whole)
{
    struct list a = LIST_INIT(a), b = LIST_INIT(b);
    struct item items[4];
    items_init(items, 4);
    list_splice(&a, &b);
    check(&a, "");
    list_push_back(&b, &items[2].node);
    list_push_back(&b, &items[3].node);
    list_splice(&a, &b);
    check(&a, "23");
    CHECK(list_is_empty(&b));
    list_push_back(&b, &items[0].node);
    list_push_back(&b, &items[1].node);
    list_splice(&a, &b);
    check(&a, "2301");
    check(&b, "");
    list_splice(&a, &b);
    check(&a, "2301");
}

TESTS(RUN(nodes_stand_where_they_were_put), RUN(a_node_may_leave_while_the_list_is_walked),
      RUN(one_list_joins_another_whole))
