"""Formatted text as Telegram reads it: HTML, MarkdownV2, Markdown and entities. Pure, without a world."""
