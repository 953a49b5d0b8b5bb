// Sends until Telegram takes it: a library swallows what a handler throws, and the update would count as done.
module.exports = async (send) => {
  for (let left = 150; ; left--) {
    try {
      return await send();
    } catch (error) {
      if (!left) throw error;
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }
};
