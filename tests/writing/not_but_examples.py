"""Sixty sentences of the kind "not X but Y", written for the test of that rule."""

EXAMPLES = """\
This is not just a tool, but a companion for the whole journey.
It's not only about speed but about trust.
Leadership is not merely a title; it's a daily practice.
She was not simply tired but hollowed out by the work.
The city doesn't just wake up; it roars to life.
It isn't a bug. It's a feature.
This wasn't a retreat — it was a rebirth.
They aren't customers, they're neighbours.
The problem isn't the code. It's the culture around it.
He did not shout but rather let the silence speak.
Grief is not a line but a spiral.
Writing is not about perfection but about persistence.
We are not here to judge but to listen.
Not because it was easy, but because it was right.
The goal is not to win but to keep playing.
It was never about the money. It was about respect.
Success is less about talent than about patience.
Think of it less as a rule and more as a rhythm.
It's less a house and more a memory with a roof.
More than just a recipe, this is a story of home.
It is more than a garden: it is a promise.
Not a warning. A promise.
Not fear. Not anger. Just stillness.
No shortcuts, no gimmicks, just honest work.
No speeches. No banners. Only the rain.
You're not behind; you're on your own path.
I'm not asking for permission. I'm asking for help.
The question isn't whether we change but how.
The real challenge is not finding data, it is trusting it.
This is about people, not about process.
It's a marathon, not a sprint.
It was a conversation, not a contest.
Rather than simply reacting, great teams anticipate.
Instead of seeing failure as an end, see it as a teacher.
The future does not belong to the loudest but to the most patient.
Time doesn't heal wounds; it teaches us to carry them.
These are not numbers on a page. They are lives.
Design isn't how it looks; it's how it works.
He wasn't just a teacher, he was a lighthouse.
Freedom is not the absence of rules but the presence of choice.
Love isn't found, it's built.
We don't need more information. We need more wisdom.
They didn't build a product; they built a movement.
The answer lies not in technology but in ourselves.
She spoke not with anger but with clarity.
It is not so much a method as a habit.
This change won't just save money, it will save lives.
Art does not imitate life so much as question it.
What matters isn't the destination, but the walk.
Courage isn't the absence of fear. It's acting in spite of it.
The silence wasn't empty. It was full of answers.
Music here is not background noise — it's the heartbeat of the street.
Innovation is not only possible, it is inevitable.
Data is not the new oil; it is the new soil.
That's not weakness. That's wisdom.
A good question does more than inform; it transforms.
Our aim isn't simply to repair, but to restore.
It's not what you say, it's how you say it.
Their work goes beyond mere service; it is an act of care.
The lesson was not that we had failed, but that we had tried.
""".splitlines()

# Written after the rule's expressions, which were not changed for them.
OTHERS = """\
The museum is not merely a building but a conversation.
Her voice wasn't loud, but it was the voice of someone who knew.
Cooking isn't about following steps; it's about tasting.
We're not selling shoes. We're selling confidence.
The best managers don't give answers. They give questions.
It was not the storm that frightened him, but the quiet after it.
This is not the end; it is the beginning of something new.
True wealth isn't measured in money but in time.
Not a goodbye, but a see you later.
It's not that she forgot; it's that she chose to.
They weren't lost, they were exploring.
Less noise, more signal: that is the idea.
The book is less a biography than a confession.
Trust is not given but earned.
He didn't just open the door; he opened a world.
The point isn't to be right. It's to be kind.
Not only did it save time, it changed how we think.
No drama, no excuses, only results.
It is a tool, not a toy.
What we need isn't a plan but a purpose.
""".splitlines()

# Denials that assert nothing in their place, as people write them.
PLAIN = """\
I am not sure about the date, but I will ask Anna.
The report is not ready. Call me on Monday.
We do not have the contract yet. Please send it.
It isn't raining. The train was late all the same.
You are not the intended recipient, please delete this mail.
I'm not able to come on Friday, I'm in Oslo then.
He did not say when he would be back.
No one was home, so we left the box at the door.
Not sure if this is still your address.
That was not easy, but we managed.
There were more than a hundred guests at the wedding.
I can't find the file, can you send it again?
She is not at her desk right now; I'll tell her.
It costs less than a ticket for the bus.
The meeting was not cancelled, as far as I know.
They don't open before ten. It takes an hour to get there.
""".splitlines()
