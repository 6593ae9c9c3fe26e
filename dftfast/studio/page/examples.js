// Briefs to start from.

export const examples = [
  {
    name: "An email about a broken heater",
    brief: {
      prompt: "The heating in our flat has failed again; ask the landlord to act",
      outline: [
        "the radiators have been cold since 14 November",
        "second time this winter, last repair cost 380 euros",
        "the caretaker said “someone will look at it on Monday”, nobody came",
        "ask for a date, offer two evenings",
      ],
      use_case: "email", style: "polite, firm", words: 150, em_dashes: false,
    },
  },
  {
    name: "A short news report",
    brief: {
      prompt: "The town library reopens after two years",
      outline: [
        "reopens on Saturday at 10 with 42,000 books",
        "the mayor: “A town without a library is only a place to sleep”",
        "cost 3.1 million, half a million more than planned",
        "the children's room was built by volunteers",
      ],
      use_case: "news report", style: "plain", words: 220, em_dashes: false,
    },
  },
  {
    name: "The beginning of a story",
    brief: {
      prompt: "A ferryman finds a suitcase that nobody claims",
      outline: ["late autumn, the last crossing of the day", "the suitcase is warm to the touch", "his sister tells him to leave it alone"],
      use_case: "short story", style: "dry, quiet", words: 300, em_dashes: true,
    },
  },
  {
    name: "A note about a new version",
    brief: {
      prompt: "Tell users what changed in version 2.4 of our note-taking app",
      outline: ["search is 3 times as fast", "notes open offline", "the old export stops working on 1 March"],
      use_case: "product note", style: "short sentences", words: 120, em_dashes: false,
    },
  },
];
