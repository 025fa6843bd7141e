"""A payment terminal with a protocol of lines; amounts are pushed to a list in Redis."""

import asyncio
import os


async def redis(*words: str) -> str:
    """Send one command to Redis, and return the first line of its answer."""
    reader, writer = await asyncio.open_connection(os.environ["REDIS_HOST"], 6379)
    writer.write(f"*{len(words)}\r\n".encode())
    writer.writelines(f"${len(word)}\r\n{word}\r\n".encode() for word in words)
    answer = await reader.readline()
    writer.close()
    return answer.decode().strip()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    signed_in = False
    while line := (await reader.readline()).decode().split():
        match line:
            case ["PIN", pin]:
                signed_in = pin == os.environ["PIN"]
                answer = "OK" if signed_in else "WRONG PIN"
            case ["PAY", amount] if signed_in and amount.isdigit():
                answer = (await redis("RPUSH", "payments", amount)).replace(":", "PAYMENT ")
            case ["COUNT"] if signed_in:
                answer = (await redis("LLEN", "payments")).replace(":", "PAYMENTS ")
            case _:
                answer = "ERROR"
        writer.write(f"{answer}\n".encode())
    writer.close()


async def main() -> None:
    async with await asyncio.start_server(serve, "0.0.0.0", 7000) as server:
        await server.serve_forever()


asyncio.run(main())
