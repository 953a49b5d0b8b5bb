"""A quiz with inline buttons. It keeps no state: what it has to know travels in the buttons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trioworkers import Bot, Drop, Update

if TYPE_CHECKING:
    from trioworkers.types import InlineKeyboardMarkup

QUESTIONS = [
    ("Which planet has the most moons?", ["Saturn", "Mars", "Venus"]),
    ("Where do Trio's tasks live?", ["a nursery", "a garage", "a pool"]),
    ("How many hearts has an octopus?", ["three", "one", "eight"]),
    ("Which of these is a fruit?", ["tomato", "carrot", "leek"]),
    ("Which signal can nobody catch?", ["SIGKILL", "SIGTERM", "SIGINT"]),
]  # the first answer is the right one


async def handle(update: Update, bot: Bot) -> None:
    if update.kind == "callback_query":
        await judge(update, bot)
    elif update.text is None:
        raise Drop("neither a word nor a button")
    elif update.text == "/quiz":
        number = update.update_id % len(QUESTIONS)  # the same when the update is handled again
        question, answers = QUESTIONS[number]
        await bot.send_message(
            chat_id=update.chat_id,
            text=question,
            reply_markup=keyboard({answer: f"{number}:{answer}" for answer in sorted(answers)}),
        )
    else:
        await bot.send_message(chat_id=update.chat_id, text="Say /quiz and I ask you something.")


async def judge(update: Update, bot: Bot) -> None:
    query = update.raw["callback_query"]
    number, _, answer = query["data"].partition(":")
    question, (right, *_) = QUESTIONS[int(number)]
    verdict = f"{right}, right!" if answer == right else f"Not {answer}: {right}."
    await bot.edit_message_text(
        chat_id=update.chat_id,
        message_id=query["message"]["message_id"],
        text=f"{question} {verdict}",
    )
    await bot.answer_callback_query(callback_query_id=query["id"])


def keyboard(buttons: dict[str, str]) -> InlineKeyboardMarkup:
    """One row of buttons, by their text; what they send back is the value."""
    return {"inline_keyboard": [[{"text": text, "callback_data": data} for text, data in buttons.items()]]}
