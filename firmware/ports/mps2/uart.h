/* The UARTs of Arm's CMSDK. What is received goes into a ring by interrupt, so that nothing is lost while the main
 * loop is busy; what is sent waits in a ring when the other side is slow. */
#ifndef EAPU_UART_H
#define EAPU_UART_H

#include "ring.h"

enum { UART0 = 0x40004000, UART1 = 0x40005000 };

typedef struct {
    uint32_t base;
    ring_t in, out;
} uart_t;

void uart_start(uart_t *uart);
void uart_receive(uart_t *uart);  /* interrupt handlers */
void uart_transmit(uart_t *uart);
/* All of it or, without room, nothing. */
void uart_send(uart_t *uart, const uint8_t *bytes, size_t count);
/* For a UART without `out`: waits for the line, until the deadline. */
bool uart_write(const uart_t *uart, const uint8_t *bytes, size_t count, uint64_t deadline_us);

#endif
