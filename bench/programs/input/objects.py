"""Pure Python: objects, dictionaries, lists, strings, generators."""


class Account:
    def __init__(self, name):
        self.name = name
        self.entries = []

    def add(self, amount):
        self.entries.append(amount)
        return self

    @property
    def balance(self):
        return sum(self.entries)


def random_numbers(state=12345):
    while True:
        state = (state * 1103515245 + 12345) & 0x7FFFFFFF
        yield state >> 8


def queens(size, row=0, columns=0, left=0, right=0):
    if row == size:
        return 1
    found = 0
    free = ~(columns | left | right) & ((1 << size) - 1)
    while free:
        bit = free & -free
        free ^= bit
        found += queens(size, row + 1, columns | bit, (left | bit) << 1, (right | bit) >> 1)
    return found


def main():
    accounts = {}
    numbers = random_numbers()
    for number in (next(numbers) for _ in range(300000)):
        name = f"account {number % 997}"
        accounts.setdefault(name, Account(name)).add(number % 201 - 100)
    richest = sorted(accounts.values(), key=lambda account: (-account.balance, account.name))[:5]
    print(", ".join(f"{account.name}: {account.balance}" for account in richest))
    print(queens(9))
    text = " ".join(str(number) for number in range(40000))
    print(sum(len(word) * text.count(word) for word in ("1", "22", "333")), text[::-1].split()[17])


main()
