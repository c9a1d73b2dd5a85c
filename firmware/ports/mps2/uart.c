#include "uart.h"

#include "cortex_m.h"
#include "port.h"

#define DATA(uart) REGISTER((uart)->base + 0x00u)
#define STATE(uart) REGISTER((uart)->base + 0x04u)
#define CTRL(uart) REGISTER((uart)->base + 0x08u)
#define INTSTATUS(uart) REGISTER((uart)->base + 0x0Cu)
#define BAUDDIV(uart) REGISTER((uart)->base + 0x10u)

enum { STATE_TX_FULL = 1, STATE_RX_FULL = 2 };
enum { CTRL_TX = 1, CTRL_RX = 2, CTRL_TX_INTERRUPT = 4, CTRL_RX_INTERRUPT = 8 };
enum { INTERRUPT_TX = 1, INTERRUPT_RX = 2 };

void uart_start(uart_t *uart)
{
    BAUDDIV(uart) = 25; /* 1 Mbaud; QEMU does not look */
    CTRL(uart) = CTRL_TX | CTRL_RX | CTRL_RX_INTERRUPT;
}

void uart_receive(uart_t *uart)
{
    INTSTATUS(uart) = INTERRUPT_RX;
    while (STATE(uart) & STATE_RX_FULL)
        (void)ring_put(&uart->in, (uint8_t)DATA(uart));
}

/* Interrupts are off, or this is the handler. */
static void pump(uart_t *uart)
{
    uint8_t byte;
    while (!(STATE(uart) & STATE_TX_FULL) && ring_take(&uart->out, &byte))
        DATA(uart) = byte;
}

void uart_transmit(uart_t *uart)
{
    INTSTATUS(uart) = INTERRUPT_TX;
    pump(uart);
    if (ring_count(&uart->out) == 0)
        CTRL(uart) &= ~(uint32_t)CTRL_TX_INTERRUPT;
}

void uart_send(uart_t *uart, const uint8_t *bytes, size_t count)
{
    uint32_t mask;
    if (count > ring_room(&uart->out))
        return;
    for (size_t i = 0; i < count; i++)
        (void)ring_put(&uart->out, bytes[i]);
    mask = interrupts_off();
    pump(uart);
    if (ring_count(&uart->out) > 0) {
        /* The interrupt comes when a byte leaves: try again, in case the last one left before it was on. */
        CTRL(uart) |= CTRL_TX_INTERRUPT;
        pump(uart);
    }
    interrupts_restore(mask);
}

bool uart_write(const uart_t *uart, const uint8_t *bytes, size_t count, uint64_t deadline_us)
{
    for (size_t i = 0; i < count; i++) {
        while (STATE(uart) & STATE_TX_FULL)
            if (port_now_us() >= deadline_us)
                return false;
        DATA(uart) = bytes[i];
    }
    return true;
}
