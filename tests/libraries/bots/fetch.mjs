import { get } from "node:https";

const api = `${process.env.API_ROOT}/bot${process.env.BOT_TOKEN}`;
const call = async (method, params) => {
  const body = JSON.stringify(params);
  const answer = await fetch(`${api}/${method}`, { method: "POST", headers: { "content-type": "application/json" }, body });
  return (await answer.json()).result;
};
const me = await new Promise((resolve) => get(`${api}/getMe`, (answer) => answer.on("data", resolve)));
console.log(`mine ${process.env.MINE} ${JSON.parse(me).ok}`);
for (let offset = 0; ; ) {
  for (const update of await call("getUpdates", { offset, timeout: 20 })) {
    offset = update.update_id + 1;
    await call("sendMessage", { chat_id: update.message.chat.id, text: `echo ${update.message.text}` });
  }
}
