"""The districts as the warehouse has them: one stands there twice, and Jhalawar is missing."""

DISTRICTS = (
    ("AJM", "Ajmer", "305001"),
    ("ALW", "Alwar", "301001"),
    ("BAN", "Banswara", "327001"),
    ("BAR", "Baran", "325205"),
    ("BAM", "Barmer", "344001"),
    ("BHA", "Bharatpur", "321001"),
    ("BHI", "Bhilwara", "311001"),
    ("BIK", "Bikaner", "334001"),
    ("BUN", "Bundi", "323001"),
    ("CHI", "Chittorgarh", "312001"),
    ("CHU", "Churu", "331001"),
    ("DAU", "Dausa", "303303"),
    ("DHO", "Dholpur", "328001"),
    ("DUN", "Dungarpur", "314001"),
    ("GAN", "Ganganagar", "335001"),
    ("HAN", "Hanumangarh", "335512"),
    ("JAI", "Jaipur", "302001"),
    ("JUN", "Jaisalmer", "345001"),
    ("JAL", "Jalore", "343001"),
    ("JHU", "Jhunjhunu", "333001"),
    ("JOD", "Jodhpur", "342001"),
    ("KAR", "Karauli", "322241"),
    ("KOT", "Kota", "324001"),
    ("NAG", "Nagaur", "341001"),
    ("PAL", "Pali", "306401"),
    ("PRA", "Pratapgarh", "312605"),
    ("RAJ", "Rajsamand", "313324"),
    ("SAW", "Sawai Madhopur", "322001"),
    ("SIK", "Sikar", "332001"),
    ("SIR", "Sirohi", "307001"),
    ("SRI", "Sri Ganganagar", "335001"),
    ("TON", "Tonk", "304001"),
    ("UDA", "Udaipur", "313001"),
)
URBAN = frozenset({"AJM", "BIK", "JAI", "JOD", "KOT", "UDA"})
# The other spellings that people type into the portal. Both Ganganagars mean one district.
SPELLINGS = {
    "Chittorgarh": ("Chittaurgarh", "Chittor Garh"),
    "Dholpur": ("Dhaulpur",),
    "Jalore": ("Jalor",),
    "Jhunjhunu": ("Jhunjhunun", "Jhunjhnu"),
    "Nagaur": ("Nagour",),
    "Sawai Madhopur": ("Sawaimadhopur", "S. Madhopur"),
    "Sri Ganganagar": ("Ganganagar", "Shri Ganganagar", "Sriganganagar", "Ganga Nagar"),
}
# Spellings that no alias knows: the target's district must survive them.
UNKNOWN = ("Unknown", "Jhalawar")
VILLAGES = (
    "Rampura",
    "Kishanpura",
    "Bhawanipura",
    "Mandawa",
    "Khetri",
    "Govindgarh",
    "Shahpura",
    "Todaraisingh",
    "Nathdwara",
    "Deeg",
    "Sojat",
    "Phalodi",
)


def district_ids() -> dict[str, int]:
    """Names to ids, as they are loaded."""
    return {name: number for number, (_, name, _) in enumerate(DISTRICTS, start=1)}


def aliases() -> dict[str, int]:
    """Every spelling, in lower case, to the one id that is meant by it."""
    ids = district_ids()
    found = {name.lower(): number for name, number in ids.items()}
    for name, others in SPELLINGS.items():
        found.update({other.lower(): ids[name] for other in others})
    return found
