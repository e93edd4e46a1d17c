-- Empties what the shop said of the customer, in all rows of some conversions. Sums stay.
ALTER TABLE conversions UPDATE
    customer = '', customer_id = '', items = '', metadata = '', fact = '',
    adv1 = '', adv2 = '', adv3 = '', adv4 = '', adv5 = ''
WHERE account IN {accounts:Array(UInt32)} AND conversion_id IN {ids:Array(String)}
SETTINGS mutations_sync = 2
