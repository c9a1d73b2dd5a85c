#include "fake_host.h"

#include <stdlib.h>

controller_t controller;
host_t host;

void host_boot(void)
{
    const port_identity_t identity = {"board", "serial-of-16-chr", RESET_CAUSE_PIN, 77, 4096};
    memset(&host, 0, sizeof host);
    fake_reset(1, 16, 8);
    port_reset();
    controller_init(&controller, &identity);
}

hello_msg_t host_hello_of(uint32_t link)
{
    const hello_msg_t m = {PROTOCOL_VERSION, PROTOCOL_SCHEMA, link, HOST_RESEND_MS, HOST_DEAD_MAN_MS};
    return m;
}

void host_hello(const hello_msg_t *m)
{
    uint8_t payload[HELLO_SIZE];
    host_give(MSG_HELLO, 0, 0, payload, hello_pack(m, payload));
}

void host_ready(void)
{
    const hello_msg_t hello = host_hello_of(1);
    const limits_msg_t limits = bench_limits();
    const recipe_msg_t recipe = bench_recipe();
    uint8_t payload[PAYLOAD_MAX];
    host_boot();
    host_hello(&hello);
    host_request(MSG_LIMITS, payload, limits_pack(&limits, payload));
    host_request(MSG_RECIPE, payload, recipe_pack(&recipe, payload));
    host_run();
    assert_int_equal(port_sent(MSG_DONE), 2);
    port_forget();
    fake_forget();
}

/* What a host that keeps up acknowledges. */
static uint8_t ack_of_host(void)
{
    for (uint32_t i = 0; i < port.count && i < FAKE_SENT && !host.mute; i++) {
        if (message_sequenced(port.sent[i].type) && port.sent[i].seq == host.came) {
            host.came++;
        }
    }
    return host.came;
}

void host_give(uint8_t type, uint8_t seq, uint8_t ack, const uint8_t *payload, size_t n)
{
    uint8_t bytes[FRAME_ENCODED(PAYLOAD_MAX)];
    const size_t count = frame_encode(bytes, sizeof bytes, type, seq, ack, payload, n);
    assert_int_not_equal(count, 0);
    controller_receive(&controller, bytes, count);
}

void host_request(uint8_t type, const uint8_t *payload, size_t n)
{
    host_give(type, host.next++, ack_of_host(), payload, n);
}

void host_request_id(uint8_t type, uint32_t id)
{
    uint8_t payload[4];
    put_u32(payload, id);
    host_request(type, payload, sizeof payload);
}

void host_pulse(uint32_t id, uint16_t row, uint16_t count)
{
    const pulse_msg_t m = {id, 0};
    const pulse_record_t record = {row, 3, 1, 2000000, 1500000, 1000, count};
    uint8_t payload[PAYLOAD_MAX];
    pulse_pack(&m, payload);
    pulse_record_pack(&record, payload, 0);
    host_request(MSG_PULSE, payload, pulse_size(1));
}

void host_write(uint32_t id, uint16_t row, double g_target_S)
{
    const write_msg_t m = {id, 0, 1};
    const write_record_t record = {row, 3, g_target_S};
    uint8_t payload[PAYLOAD_MAX];
    write_pack(&m, payload);
    write_record_pack(&record, payload, 0);
    host_request(MSG_WRITE, payload, write_size(1));
}

void host_read(uint32_t id)
{
    const read_msg_t m = {id, 0, 200000, 2, 3, 1, 1};
    uint8_t payload[READ_SIZE];
    host_request(MSG_READ, payload, read_pack(&m, payload));
}

void host_wait(uint32_t id, uint64_t duration_ns)
{
    const wait_msg_t m = {id, duration_ns};
    uint8_t payload[WAIT_SIZE];
    host_request(MSG_WAIT, payload, wait_pack(&m, payload));
}

void host_product(uint32_t id, uint32_t vectors)
{
    const product_msg_t m = {id, 0, LINE_DIRECTION_FORWARD, 1, vectors};
    const product_record_t bits[] = {{0xFF}, {0xFF}, {0x03}};
    uint8_t payload[PAYLOAD_MAX];
    product_pack(&m, payload);
    for (size_t i = 0; i < 3; i++) {
        product_record_pack(&bits[i], payload, i);
    }
    host_request(MSG_PRODUCT, payload, product_size(3));
}

void host_product_data(uint32_t id, size_t codes, int16_t code)
{
    const product_data_msg_t m = {id};
    const product_data_record_t record = {code};
    uint8_t payload[PAYLOAD_MAX];
    product_data_pack(&m, payload);
    for (size_t i = 0; i < codes; i++) {
        product_data_record_pack(&record, payload, i);
    }
    host_request(MSG_PRODUCT_DATA, payload, product_data_size(codes));
}

void host_run(void)
{
    for (unsigned quiet = 0, polls = 0; quiet < 2; polls++) {
        const uint8_t had = host.came;
        const uint32_t calls = fake.count;
        assert_true(polls < 20000);
        controller_poll(&controller);
        assert_true(fake.count - calls <= 1 || controller.fault != FAULT_NONE); /* one transaction a step */
        assert_true(controller.link.sent_count <= LINK_WINDOW);
        if (ack_of_host() != had) {
            host_give(MSG_ACK, 0, host.came, NULL, 0);
        }
        quiet = controller_idle(&controller) ? quiet + 1 : 0;
    }
}

status_is_msg_t host_urgent(uint8_t type)
{
    uint8_t payload[4];
    status_is_msg_t m = {0};
    const uint32_t before = port_sent(MSG_STATUS_IS);
    put_u32(payload, 4711);
    host_give(type, 0, ack_of_host(), payload, sizeof payload);
    assert_int_equal(port_sent(MSG_STATUS_IS), before + 1);
    const sent_t *sent = port_last(MSG_STATUS_IS);
    assert_true(status_is_unpack(&m, sent->payload, sent->size));
    assert_int_equal(m.id, 4711);
    return m;
}

const sent_t *host_answer(uint8_t type)
{
    const sent_t *sent = port_last(type);
    assert_non_null(sent);
    return sent;
}

void host_assert_refused(uint32_t id, reason_t reason)
{
    const sent_t *sent = host_answer(MSG_REFUSED);
    refused_msg_t m = {0};
    assert_true(refused_unpack(&m, sent->payload, sent->size));
    assert_int_equal(m.id, id);
    assert_int_equal(m.reason, reason);
}
