"""What a simulated user does to pay: it tells where to ship, checks out, and has paid when the bot agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from trioworkers.testing.accounts import Account
from trioworkers.testing.ledger import Payment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.chats import Message
    from trioworkers.testing.ledger import SimInvoice
    from trioworkers.testing.world import World

ADDRESS = {
    "country_code": "DE",
    "state": "",
    "city": "Berlin",
    "street_line1": "Invalidenstr. 1",
    "street_line2": "",
    "post_code": "10115",
}
ORDER = {
    "name": "Alice",
    "phone_number": "4930123456",
    "email": "alice@example.org",
    "shipping_address": ADDRESS,
}


class PaymentFailed(AssertionError):
    """A bot refused a payment, or did not answer in time."""


class Buyer(Account):
    """Somebody who pays. The steps can be taken one by one, or all at once by :meth:`pay`."""

    _world: World

    def ask_shipping(
        self, bot: SimBot, invoice: Message | str, address: Mapping[str, str] = ADDRESS
    ) -> tuple[str, int]:
        """Tell where to ship; returns the id of the shipping_query and of its update.

        Raises:
            LookupError: that is not an invoice of the bot's.
        """
        asked = self._invoice(bot, invoice)
        query_id = self._world.ask(bot)
        query = {
            "id": query_id,
            "from": self.brief,
            "invoice_payload": asked.payload,
            "shipping_address": dict(address),
        }
        return query_id, bot.queue.push({"shipping_query": query})

    def check_out(
        self,
        bot: SimBot,
        invoice: Message | str,
        *,
        shipping: Mapping[str, Any] | None = None,
        tip: int = 0,
    ) -> tuple[str, int]:
        """Press Pay; returns the id of the pre_checkout_query and of its update.

        Args:
            bot: whose invoice it is.
            invoice: the message with it, or a link of createInvoiceLink.
            shipping: the ShippingOption that was chosen.
            tip: on top, in the smallest units of the currency.
        """
        asked = self._invoice(bot, invoice)
        query_id = self._world.ask(bot)
        extra = sum(int(price["amount"]) for price in shipping["prices"]) if shipping else 0
        query: dict[str, Any] = {
            "id": query_id,
            "from": self.brief,
            "currency": asked.currency,
            "total_amount": asked.total + extra + tip,
            "invoice_payload": asked.payload,
        }
        if shipping:
            query["shipping_option_id"] = shipping["id"]
        if asked.needs:
            query["order_info"] = {name: value for name, value in ORDER.items() if name in asked.needs}
        return query_id, bot.queue.push({"pre_checkout_query": query})

    def complete_payment(self, bot: SimBot, query_id: str, invoice: Message | str, **paid: Any) -> int:
        """Pay what the bot agreed to; returns the id of the update with the successful_payment.

        Args:
            bot: who is paid.
            query_id: of the pre_checkout_query that it answered.
            invoice: what is paid.
            paid: fields of the successful payment that differ from the invoice, as `total_amount`.

        Raises:
            PaymentFailed: it did not answer, or with an error.
        """
        answer = self._world.query_answers.get(query_id)
        if answer is None or not answer["ok"]:
            reason = "no answer" if answer is None else answer.get("error_message")
            raise PaymentFailed(f"{bot!r} did not agree to the payment: {reason}")
        asked = self._invoice(bot, invoice)
        charge = f"stx{self._world.dice.randrange(10**15, 10**16)}"
        body: dict[str, Any] = {
            "currency": asked.currency,
            "total_amount": asked.total,
            "invoice_payload": asked.payload,
            "telegram_payment_charge_id": charge,
            "provider_payment_charge_id": "" if asked.currency == "XTR" else f"pp{charge[3:]}",
            **paid,
        }
        now = int(self._world.clock())
        if asked.subscription_period:
            until = now + asked.subscription_period
            body |= {"subscription_expiration_date": until, "is_recurring": True, "is_first_recurring": True}
        self._world.payments[charge] = Payment(bot.id, self.id, now, body)
        chat = self._world.dialog(bot, self.id)
        message = chat.add(self.brief, now, {"successful_payment": body}, by_bot=False)
        return bot.queue.push({"message": message})

    async def pay(
        self,
        bot: SimBot,
        invoice: Message | str,
        *,
        tip: int = 0,
        timeout: float = 10.0,  # noqa: ASYNC109 - a test reads better with it; it is a plain fail-after
    ) -> int:
        """Pay an invoice, the first way of shipping included; returns the id of the last update.

        Cancelled, nothing is paid.

        Raises:
            PaymentFailed: the bot did not answer within `timeout` seconds, or with an error.
        """
        asked = self._invoice(bot, invoice)
        shipping = None
        if asked.flexible:
            query_id, _ = self.ask_shipping(bot, invoice)
            answer = await self._answer(bot, query_id, trio.current_time() + timeout)
            if not answer["ok"]:
                raise PaymentFailed(f"{bot!r} does not ship there: {answer.get('error_message')}")
            shipping = answer["shipping_options"][0]
        query_id, _ = self.check_out(bot, invoice, shipping=shipping, tip=tip)
        await self._answer(bot, query_id, trio.current_time() + timeout)
        extra = sum(int(price["amount"]) for price in shipping["prices"]) if shipping else 0
        more = {"shipping_option_id": shipping["id"]} if shipping else {}
        return self.complete_payment(bot, query_id, invoice, total_amount=asked.total + extra + tip, **more)

    async def _answer(self, bot: SimBot, query_id: str, deadline: float) -> dict[str, Any]:
        with trio.move_on_at(deadline):
            while query_id not in self._world.query_answers:
                await self._world.answered.wait()
        answer = self._world.query_answers.get(query_id)
        if answer is None:
            raise PaymentFailed(f"{bot!r} did not answer a query of the payment in time")
        return answer

    def _invoice(self, bot: SimBot, invoice: Message | str) -> SimInvoice:
        key = invoice if isinstance(invoice, str) else f"{invoice['chat']['id']}/{invoice['message_id']}"
        found = self._world.invoices.get(key)
        if found is None or found.bot_id != bot.id:
            raise LookupError(f"{bot!r} sent no such invoice")
        return found
