"""The Bot API methods of payments: invoices, the answers to those who pay, and Telegram Stars."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trioworkers.testing.answers import bad_request
from trioworkers.testing.forms import QUERY_TOO_OLD
from trioworkers.testing.ledger import STARS, SimInvoice
from trioworkers.testing.methods.reading import read_keyboard, say
from trioworkers.testing.params import read_integer

if TYPE_CHECKING:
    from trioworkers.testing.bots import SimBot
    from trioworkers.testing.ledger import Payment
    from trioworkers.testing.params import Params
    from trioworkers.testing.world import World

CHECKOUT_LIFETIME = 10.0  # seconds, Bot API: answerPreCheckoutQuery
SHIPPING_LIFETIME = 10.0
TITLE_LIMIT = 32  # characters
DESCRIPTION_LIMIT = 255
PAYLOAD_LIMIT = 128  # bytes
MOST_TIPS = 4
MONTH = 2_592_000  # seconds; the only subscription_period
NEEDS = {
    "need_name": "name",
    "need_phone_number": "phone_number",
    "need_email": "email",
    "need_shipping_address": "shipping_address",
}


def _read_prices(prices: list[dict[str, Any]]) -> int:
    if not prices:
        raise bad_request("there must be at least one price")
    for price in prices:
        if not str(price["label"]):
            raise bad_request("can't parse labeled price: LabeledPrice label must be non-empty")
    return sum(read_integer(price["amount"]) for price in prices)


def read_invoice(bot: SimBot, params: Params) -> tuple[SimInvoice, dict[str, Any]]:
    """What an invoice asks for, and the Invoice object of its message.

    Raises:
        Refused: a text is empty or too long, the currency or the amount cannot be, or tips do not fit.
    """
    title, description, payload = (params.text(name) for name in ("title", "description", "payload"))
    if not title:
        raise bad_request('parameter "title" is required')
    if len(title) > TITLE_LIMIT:
        raise bad_request("INVOICE_TITLE_INVALID")
    if len(description) > DESCRIPTION_LIMIT:
        raise bad_request("INVOICE_DESCRIPTION_INVALID")
    if len(payload.encode()) > PAYLOAD_LIMIT:
        raise bad_request("INVOICE_PAYLOAD_INVALID")
    currency = params.text("currency")
    prices = params.json("prices", "prices")
    total = _read_prices(prices)
    if len(currency) != 3 or not currency.isalpha() or not currency.isupper():
        raise bad_request("CURRENCY_INVALID")
    if currency == STARS:
        if len(prices) != 1 or params.text("provider_token"):
            raise bad_request("STARS_INVOICE_INVALID")
    elif not params.text("provider_token"):
        raise bad_request("PAYMENT_PROVIDER_INVALID")
    if total <= 0:
        raise bad_request("CURRENCY_TOTAL_AMOUNT_INVALID")
    _check_tips(params)
    needs = frozenset(what for name, what in NEEDS.items() if params.flag(name))
    period = params.integer("subscription_period")
    if period and (period != MONTH or currency != STARS):
        raise bad_request("SUBSCRIPTION_PERIOD_INVALID")
    flexible = params.flag("is_flexible")
    asks = SimInvoice(bot.id, payload, currency, total, flexible, needs, period)
    invoice = {"title": title, "description": description, "start_parameter": params.text("start_parameter")}
    return asks, {**invoice, "currency": currency, "total_amount": total}


def _check_tips(params: Params) -> None:
    tips = params.json("suggested_tip_amounts", "suggested_tip_amounts")
    if tips is None:
        return
    if not isinstance(tips, list):
        raise bad_request("expected an Array of suggested tip amounts")
    amounts = [read_integer(tip) for tip in tips]
    rising = all(0 < earlier < later for earlier, later in zip([0.5, *amounts], amounts, strict=False))
    if len(amounts) > MOST_TIPS or not rising or (amounts and amounts[-1] > params.integer("max_tip_amount")):
        raise bad_request("TIP_AMOUNTS_INVALID")


def send_invoice(world: World, bot: SimBot, params: Params) -> object:
    """sendInvoice; a user pays by `SimUser.pay`."""
    asks, invoice = read_invoice(bot, params)
    chat = world.find_chat(bot, params)
    keyboard = read_keyboard(params, chat, invoice=True)
    rows = keyboard.get("reply_markup", {}).get("inline_keyboard", [[]])
    if keyboard and not rows[0][0].get("pay"):
        raise bad_request("BUTTON_TYPE_INVALID")
    message = say(world, bot, params, chat, {"invoice": invoice, **keyboard})
    world.invoices[f"{chat.id}/{message['message_id']}"] = asks
    return message


def create_invoice_link(world: World, bot: SimBot, params: Params) -> object:
    """createInvoiceLink."""
    asks, _ = read_invoice(bot, params)
    link = f"https://t.me/${''.join(world.dice.choices('abcdefghijkmnpqrstuvwxyz23456789', k=16))}"
    world.invoices[link] = asks
    return link


def _answer(world: World, bot: SimBot, params: Params, name: str, lifetime: float) -> None:
    query_id = params.text(name)
    owner, asked_at = world.queries.get(query_id, (0, 0.0))
    if owner != bot.id or world.clock() > asked_at + lifetime:
        raise bad_request(QUERY_TOO_OLD)
    del world.queries[query_id]
    world.query_answers[query_id] = {**params.values, **params.decoded, "ok": params.flag("ok")}
    world.answered.fire()


def answer_shipping_query(world: World, bot: SimBot, params: Params) -> object:
    """answerShippingQuery: the ways of shipping, or why there is none."""
    if params.flag("ok"):
        if not params.text("shipping_options"):
            raise bad_request('parameter "shipping_options" is required')
        options = params.json("shipping_options", "shipping options")
        if not options:
            raise bad_request("there must be at least one shipping option")
        for option in options:
            if not option["id"] or not option["title"]:
                what = "identifier" if not option["id"] else "title"
                raise bad_request(f"can't parse shipping option: ShippingOption {what} must be non-empty")
            _read_prices(option["prices"])
    elif not params.text("error_message"):
        raise bad_request('parameter "error_message" is required')
    _answer(world, bot, params, "shipping_query_id", SHIPPING_LIFETIME)
    return True


def answer_pre_checkout_query(world: World, bot: SimBot, params: Params) -> object:
    """answerPreCheckoutQuery: within ten seconds, or nothing is paid."""
    if not params.flag("ok") and not params.text("error_message"):
        raise bad_request('parameter "error_message" is required')
    _answer(world, bot, params, "pre_checkout_query_id", CHECKOUT_LIFETIME)
    return True


def _payments(world: World, bot: SimBot) -> list[Payment]:
    return [payment for payment in world.payments.values() if payment.bot_id == bot.id and payment.stars]


def get_my_star_balance(world: World, bot: SimBot, params: Params) -> object:
    """getMyStarBalance: what was paid in Telegram Stars and not refunded."""
    return {"amount": sum(payment.stars for payment in _payments(world, bot) if not payment.refunded)}


def get_star_transactions(world: World, bot: SimBot, params: Params) -> object:
    """getStarTransactions: payments and refunds, the oldest first."""
    found: list[dict[str, Any]] = []
    for payment in _payments(world, bot):
        charge = payment.body["telegram_payment_charge_id"]
        partner = {
            "type": "user",
            "transaction_type": "invoice_payment",
            "user": world.account(payment.user_id),
            "invoice_payload": payment.body["invoice_payload"],
        }
        one = {"id": charge, "amount": payment.stars, "date": payment.date}
        found.append({**one, "source": partner})
        if payment.refunded:
            found.append({**one, "receiver": partner})
    offset, limit = max(params.integer("offset"), 0), min(max(params.integer("limit", 100), 1), 100)
    return {"transactions": found[offset : offset + limit]}


def _charge(world: World, bot: SimBot, params: Params) -> Payment:
    payment = world.payments.get(params.text("telegram_payment_charge_id"))
    if payment is None or payment.bot_id != bot.id or payment.user_id != params.integer("user_id"):
        raise bad_request("CHARGE_ID_INVALID")
    return payment


def refund_star_payment(world: World, bot: SimBot, params: Params) -> object:
    """refundStarPayment: once; the user and the bot see it as a message."""
    payment = _charge(world, bot, params)
    if not payment.stars:
        raise bad_request("CHARGE_ID_INVALID")
    if payment.refunded:
        raise bad_request("CHARGE_ALREADY_REFUNDED")
    payment.refunded = True
    names = (
        "currency",
        "total_amount",
        "invoice_payload",
        "telegram_payment_charge_id",
        "provider_payment_charge_id",
    )
    body = {name: payment.body[name] for name in names}
    chat = world.dialog(bot, payment.user_id)
    message = chat.add(bot.brief, int(world.clock()), {"refunded_payment": body}, by_bot=False)
    bot.queue.push({"message": message})
    return True


def edit_user_star_subscription(world: World, bot: SimBot, params: Params) -> object:
    """editUserStarSubscription: only of a payment that began one."""
    payment = _charge(world, bot, params)
    if "subscription_expiration_date" not in payment.body:
        raise bad_request("CHARGE_ID_INVALID")
    return True
