/* Cortex-M3 of Arm's MPS2 board with the AN385 image, as QEMU has it: host on UART0, front end on UART1. */
#include "afe_line.h"
#include "afe_wire.h"
#include "controller.h"
#include "cortex_m.h"
#include "uart.h"

#define CORE_HZ 25000000u
#define FPGAIO_COUNTER REGISTER(0x40028018u)
#define FPGAIO_PRESCALE REGISTER(0x4002801Cu)

static void uart0_receive(void);
static void uart0_transmit(void);
static void uart1_receive(void);
static void ignore(void);

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack_top;
    handler_t handlers[15 + 4];
} vectors = {image_stack_top, {CORTEX_M_VECTORS, uart0_receive, uart0_transmit, uart1_receive, ignore}};

static uint8_t host_in[4096], host_out[2048], afe_in[2048];
static uart_t host = {UART0, {host_in, sizeof host_in, 0, 0}, {host_out, sizeof host_out, 0, 0}};
static uart_t afe = {UART1, {afe_in, sizeof afe_in, 0, 0}, {0, 0, 0, 0}};
static controller_t controller;

static void uart0_receive(void)
{
    uart_receive(&host);
}

static void uart0_transmit(void)
{
    uart_transmit(&host);
}

static void uart1_receive(void)
{
    uart_receive(&afe);
}

static void ignore(void)
{
}

/* Only ends the sleep: under QEMU ticks get lost when the machine is busy, so that the time is not theirs. */
void tick_handler(void)
{
}

/* Nothing here can put a voltage anywhere; the front end's own timer ends what is driven. */
void port_cut(void)
{
}

/* The counter of microseconds wraps after 71 minutes; the main loop comes by every millisecond. */
uint64_t port_now_us(void)
{
    static uint64_t now_us;
    static uint32_t last;
    const uint32_t count = FPGAIO_COUNTER;
    now_us += count - last;
    last = count;
    return now_us;
}

void port_send(const uint8_t *bytes, size_t count)
{
    uart_send(&host, bytes, count);
}

bool afe_line_write(const uint8_t *bytes, size_t count)
{
    return uart_write(&afe, bytes, count, port_now_us() + AFE_TIMEOUT_US);
}

size_t afe_line_read(uint8_t *bytes, size_t room, uint64_t deadline_us)
{
    size_t count;
    while ((count = ring_take_many(&afe.in, bytes, room)) == 0 && port_now_us() < deadline_us)
        sleep_unless_filled(&afe.in);
    return count;
}

bool afe_exchange(afe_message_t *message)
{
    return afe_line_exchange(message);
}

int main(void)
{
    static port_identity_t identity = {"mps2-an385", "qemu", RESET_CAUSE_POWER, 0, sizeof host_in};
    uint8_t bytes[256];

    FPGAIO_PRESCALE = 0;
    identity.session = jitter(&FPGAIO_COUNTER);
    FPGAIO_PRESCALE = CORE_HZ / 1000000u - 1u;
    tick_start(CORE_HZ);
    uart_start(&host);
    uart_start(&afe);
    for (uint32_t number = 0; number < 3; number++)
        interrupt_enable(number);
    controller_init(&controller, &identity);
    for (;;) {
        const size_t count = ring_take_many(&host.in, bytes, sizeof bytes);
        if (count > 0)
            controller_receive(&controller, bytes, count);
        controller_poll(&controller);
        if (count == 0 && controller_idle(&controller))
            sleep_unless_filled(&host.in);
    }
}
