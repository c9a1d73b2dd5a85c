/* The controller board: see README.md for its wiring. */
#include "chip.h"
#include "controller.h"
#include "cortex_m.h"
#include "parts.h"
#include "registers.h"

enum { IRQ_COUNT = 82 };

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack_top;
    handler_t handlers[15 + IRQ_COUNT];
} vectors = {image_stack_top, {CORTEX_M_VECTORS, [15 + IRQ_USART1] = host_handler}};

int main(void)
{
    static controller_t controller;
    static char serial[17];
    static port_identity_t identity = {"stm32f405", serial, RESET_CAUSE_UNKNOWN, 0, HOST_RX_BYTES};
    uint8_t bytes[256];

    chip_start();
    parts_start();
    watchdog_start();
    host_start();
    chip_serial(serial);
    identity.reset_cause = chip_reset_cause();
    identity.session = chip_random();
    controller_init(&controller, &identity);
    for (;;) {
        const size_t count = host_receive(bytes, sizeof bytes);
        watchdog_feed();
        if (count > 0)
            controller_receive(&controller, bytes, count);
        controller_poll(&controller);
        if (count == 0 && controller_idle(&controller))
            host_sleep();
    }
}
